package store

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/gocarrier/carrier/crypto"
)

// A Secret opens a directory: the at-rest key itself, which the program keeps,
// or the passphrase of the key file. The zero Secret is a key file without a
// passphrase. At most one may be set; empty and not nil is set, and wrong. The
// bytes stay the caller's.
type Secret struct {
	Key        []byte // KeySize random bytes
	Passphrase []byte // any bytes, at least one
}

// Format prints nothing of the secret.
func (Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, redacted) }

// The key file is one line,
//
//	64 hexadecimal digits: the at-rest key in clear, or
//	"carrier key 1 " ‖ base64 of crypto.SealPassphrase(passphrase, "carrier key 1", key)
//
// A change of the passphrase changes this line and nothing else.
const (
	sealedKeyTag = "carrier key 1"
	maxKeyFile   = 4096
)

var errEmptyPassphrase = fmt.Errorf("%w: it is empty", ErrPassphrase)

// readKey reads the key file of a directory. A missing one matches
// fs.ErrNotExist.
func readKey(dir string, passphrase []byte) ([]byte, error) {
	path := filepath.Join(dir, keyName)
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	// Windows keeps no such bits; there the directory's access list rules.
	if mode := info.Mode().Perm(); runtime.GOOS != "windows" && info.Mode().IsRegular() && mode&0o077 != 0 {
		return nil, fmt.Errorf("%w: %s has mode %04o and may have been read by others; if you trust them, chmod 600 it", ErrKeyMode, path, mode)
	}
	text, err := readSmall(path, maxKeyFile)
	if err != nil {
		return nil, err
	}
	return parseKey(path, strings.TrimSpace(string(text)), passphrase)
}

func parseKey(path, line string, passphrase []byte) ([]byte, error) {
	damaged := func(why string) error {
		return fmt.Errorf("%w: %s %s; restore it from a backup", ErrDamaged, path, why)
	}
	tag, body, sealed := strings.Cut(line, sealedKeyTag+" ")
	if !sealed || tag != "" {
		key, err := hex.DecodeString(line)
		if err != nil || len(key) != KeySize {
			// The cause is not wrapped: it would quote a byte of the key.
			return nil, damaged(fmt.Sprintf("holds neither %d hexadecimal digits nor a key under a passphrase", 2*KeySize))
		}
		if passphrase != nil {
			return nil, fmt.Errorf("%w: %s has none; open it without and set one", ErrPassphrase, path)
		}
		return key, nil
	}
	b, err := base64.StdEncoding.Strict().DecodeString(body)
	if err != nil || len(b) != crypto.PassphraseOverhead+KeySize {
		return nil, damaged("does not hold a whole key")
	}
	if len(passphrase) == 0 {
		return nil, fmt.Errorf("%w: %s is under one, and none was given", ErrPassphrase, path)
	}
	key, err := crypto.OpenPassphrase(passphrase, []byte(sealedKeyTag), b)
	switch {
	case err == nil:
		return key, nil
	case errors.Is(err, crypto.ErrPassphrase):
		return nil, fmt.Errorf("%w: %s does not open with it", ErrPassphrase, path)
	case errors.Is(err, crypto.ErrVersion):
		return nil, fmt.Errorf("%w: %s: %w", ErrNewer, path, err)
	}
	return nil, fmt.Errorf("%w: %s: %w; restore it from a backup", ErrDamaged, path, err)
}

// keyLine returns what stands in a key file, under a passphrase unless that is
// nil.
func keyLine(key, passphrase []byte) (string, error) {
	switch {
	case passphrase == nil:
		return hex.EncodeToString(key) + "\n", nil
	case len(passphrase) == 0:
		return "", errEmptyPassphrase
	}
	sealed := crypto.SealPassphrase(passphrase, []byte(sealedKeyTag), key)
	return sealedKeyTag + " " + base64.StdEncoding.EncodeToString(sealed) + "\n", nil
}

// writeKey puts a key file in the place of what is there, if anything. A crash
// leaves the one or the other, whole.
func writeKey(f files, dir, line string) error {
	if err := f.replace(filepath.Join(dir, keyName), []byte(line)); err != nil {
		return fmt.Errorf("write key file: %w", err)
	}
	return nil
}

// existingKey returns the key of a directory that already has sealed files:
// the given one, or that of the key file.
func existingKey(dir string, secret Secret) ([]byte, error) {
	if secret.Key != nil {
		return secret.Key, nil
	}
	key, err := readKey(dir, secret.Passphrase)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s is missing; restore it, or give the key that the directory was made with", ErrWrongKey, filepath.Join(dir, keyName))
	}
	return key, err
}

// firstKey returns the key for a directory without sealed files: the given
// one, that of the key file, or a new one put there.
func firstKey(f files, dir string, secret Secret) ([]byte, error) {
	if secret.Key != nil {
		return secret.Key, nil
	}
	key, err := readKey(dir, secret.Passphrase)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	key = make([]byte, KeySize)
	rand.Read(key) // never fails
	line, err := keyLine(key, secret.Passphrase)
	if err != nil {
		return nil, err
	}
	return key, writeKey(f, dir, line)
}
