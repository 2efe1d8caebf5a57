//go:build !darwin && !dragonfly && !freebsd && !linux && !netbsd && !openbsd && !windows

package store

import (
	"os"
	"path/filepath"
)

// lockDir only makes the file: these systems have no lock that std offers.
// bbolt's own lock on the database keeps other processes out, not a second
// open in the same one.
func lockDir(dir string) (*os.File, error) {
	return os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
}

// unlockFile does nothing: the locks of these systems end when the file is
// closed.
func unlockFile(*os.File) error { return nil }
