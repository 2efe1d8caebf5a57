package store

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// readKey reads the key file of a directory: 64 hexadecimal digits and a line
// end. A missing one matches fs.ErrNotExist.
func readKey(dir string) ([]byte, error) {
	path := filepath.Join(dir, keyName)
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	// Windows keeps no such bits; there the directory's access list rules.
	if mode := info.Mode().Perm(); runtime.GOOS != "windows" && mode&0o077 != 0 {
		return nil, fmt.Errorf("%w: %s has mode %04o and may have been read by others; if you trust them, chmod 600 it", ErrKeyMode, path, mode)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(key) != KeySize {
		// The cause is not wrapped: it would quote a byte of the key.
		return nil, fmt.Errorf("%w: %s does not hold %d hexadecimal digits; restore it from a backup", ErrDamaged, path, 2*KeySize)
	}
	return key, nil
}

// makeKey draws a key and writes the key file, which must not be there. A
// crash leaves none or a whole one.
func makeKey(dir string) ([]byte, error) {
	key := make([]byte, KeySize)
	rand.Read(key) // never fails
	path := filepath.Join(dir, keyName)
	if err := replaceFile(path, []byte(hex.EncodeToString(key)+"\n")); err != nil {
		return nil, fmt.Errorf("make key file: %w", err)
	}
	return key, nil
}

// existingKey returns the key of a directory that already has sealed files:
// the given one, or that of the key file.
func existingKey(dir string, given []byte) ([]byte, error) {
	if given != nil {
		return given, nil
	}
	key, err := readKey(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s is missing; restore it, or give the key that the directory was made with", ErrWrongKey, filepath.Join(dir, keyName))
	}
	return key, err
}

// firstKey returns the key for a directory without sealed files: the given
// one, that of the key file, or a new one put there.
func firstKey(dir string, given []byte) ([]byte, error) {
	if given != nil {
		return given, nil
	}
	key, err := readKey(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return makeKey(dir)
	}
	return key, err
}
