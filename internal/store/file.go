package store

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
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

// makeDir makes the directory if it is missing, readable by its owner only. One
// that is there keeps its mode: it may be shared with other things, and each
// of our files is closed to others by itself.
func makeDir(dir string) error {
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	return syncDir(filepath.Dir(dir))
}

// replaceFile puts a file with these bytes in the place of what is there, if
// anything. A crash leaves the one or the other, whole. Only one caller a path
// at a time.
func replaceFile(path string, data []byte) error {
	f, err := os.OpenFile(path+newSuffix, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		return publishFile(path)
	}
	os.Remove(path + newSuffix)
	return err
}

// publishFile gives the file that was made as path.new its name, durably.
func publishFile(path string) error {
	if err := os.Rename(path+newSuffix, path); err != nil {
		os.Remove(path + newSuffix)
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes the names in a directory durable. Windows has no such call:
// NTFS journals them.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return err
}
