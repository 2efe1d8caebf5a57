package store

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
)

// The names of the files in a directory. A file being made has the name with
// ".new" behind it until it is whole and durable.
const (
	lockName    = "carrier.lock"
	keyName     = "carrier.key"
	dbName      = "carrier.db"
	prekeysName = "carrier.prekeys"
	newSuffix   = ".new"
)

// files makes files durable. step, when it is set, is told of each call before
// it is made, and an error of it stands for the call's: tests see the order, and
// break it off at each place.
type files struct {
	step func(call, path string) error
}

func (f files) before(call, path string) error {
	if f.step == nil {
		return nil
	}
	return f.step(call, path)
}

// makeDir makes the directory if it is missing, readable by its owner only,
// and those above it. One that is there keeps its mode: it may be shared with
// other things, and each of our files is closed to others by itself.
func (f files) makeDir(dir string) error {
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return nil
	}
	var missing []string // from the innermost
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Stat(d); err == nil || d == filepath.Dir(d) {
			break
		}
		missing = append(missing, d)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	for _, d := range slices.Backward(missing) {
		if err := f.syncDir(filepath.Dir(d)); err != nil {
			return err
		}
	}
	return nil
}

// replace puts a file with these bytes in the place of what is there, if
// anything. A crash leaves the one or the other, whole; so does an error, of
// which only one from syncing the directory leaves the new one. Only one caller
// a path at a time.
func (f files) replace(path string, data []byte) error {
	out, err := os.OpenFile(path+newSuffix, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if err = f.before("write", path+newSuffix); err == nil {
		_, err = out.Write(data)
	}
	if err == nil {
		err = f.sync(out)
	}
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		os.Remove(path + newSuffix)
		return err
	}
	return f.publish(path)
}

// publish gives the file that was made, and synced, as path.new its name,
// durably.
func (f files) publish(path string) error {
	err := f.before("rename", path)
	if err == nil {
		err = os.Rename(path+newSuffix, path)
	}
	if err != nil {
		os.Remove(path + newSuffix)
		return err
	}
	return f.syncDir(filepath.Dir(path))
}

// sync makes the bytes of a file durable.
func (f files) sync(file *os.File) error {
	if err := f.before("sync", file.Name()); err != nil {
		return err
	}
	return file.Sync()
}

// syncDir makes the names in a directory durable. Windows has no such call:
// NTFS journals them.
func (f files) syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = f.sync(d)
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return err
}

// readSmall returns what a regular file of at most limit bytes holds. What is
// no such file is ErrDamaged: it was never ours, and may be endless.
func readSmall(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > limit {
		return nil, fmt.Errorf("%w: %s is no file of at most %d bytes; restore it from a backup", ErrDamaged, path, limit)
	}
	return os.ReadFile(path)
}
