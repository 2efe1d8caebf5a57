package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	bigFile   = 100 << 20
	smallFile = 64 << 10 // the largest that Alice takes
	fileLimit = time.Minute
)

// file makes a file of random bytes, and returns its SHA-256.
func (l *lab) file(name string, size int64) (path, sum string, err error) {
	dir, err := os.MkdirTemp(l.dir, "files-")
	if err != nil {
		return "", "", err
	}
	path = filepath.Join(dir, name)
	f, err := os.Create(path)
	if err != nil {
		return "", "", err
	}
	var seed [32]byte
	for i := range seed {
		seed[i] = byte(l.random.Uint32())
	}
	hash := sha256.New()
	_, err = io.CopyN(io.MultiWriter(f, hash), rand.NewChaCha8(seed), size)
	return path, hex.EncodeToString(hash.Sum(nil)), errors.Join(err, f.Close())
}

// hashOf returns a file's size and SHA-256.
func hashOf(path string) (int64, string, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, "", err
	}
	hash := sha256.New()
	size, err := io.Copy(hash, f)
	return size, hex.EncodeToString(hash.Sum(nil)), errors.Join(err, f.Close())
}

// transfer is a file on its way from one chat to another.
type transfer struct {
	lab          *lab
	from, to     *actor
	fromID, toID string
}

// send sends a file, sees that it is whole at the receiver's, and returns where
// it is and how long it took.
func (t *transfer) send(path, sum string, size int64) (string, time.Duration, error) {
	name := filepath.Base(path)
	fromMark, toMark := t.from.mark(), t.to.mark()
	begun := time.Now()
	if err := t.from.tell("/send %s %s", t.toID, path); err != nil {
		return "", 0, err
	}
	number := strconv.FormatInt(size, 10)
	// The receiver calls it by a name that is cleaned.
	coming, err := t.to.await(toMark, fileLimit, "file", t.fromID)
	if err != nil {
		return "", 0, err
	}
	if coming.fields[2] != number {
		return "", 0, fmt.Errorf("%q: file: %v, want %s bytes", name, coming.fields, number)
	}
	got, err := t.to.await(toMark, fileLimit, "received", t.fromID)
	if err != nil {
		return "", 0, err
	}
	took := time.Since(begun)
	if got.fields[2] != number || got.fields[3] != sum {
		return "", 0, fmt.Errorf("%q: received: %v, want %s bytes of SHA-256 %s", name, got.fields, number, sum)
	}
	if _, err := t.from.await(fromMark, netLimit, "filesent", t.toID, name, number, sum); err != nil {
		return "", 0, err
	}
	at := t.where(got.fields[1])
	if dir := t.received(); filepath.Dir(at) != dir {
		return "", 0, fmt.Errorf("%q was received at %q, want in %s", name, at, dir)
	}
	onDisk, itsSum, err := hashOf(at)
	if err != nil {
		return "", 0, err
	}
	if onDisk != size || itsSum != sum {
		return "", 0, fmt.Errorf("%q: on the disk are %d bytes of SHA-256 %s, want %d of %s", at, onDisk, itsSum, size, sum)
	}
	return at, took, nil
}

// where is a path that a chat printed; it runs in the lab's folder.
func (t *transfer) where(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(t.lab.dir, path)
}

// received is where the receiver has files.
func (t *transfer) received() string { return filepath.Join(t.lab.dirOf(t.to), "received") }

// has compares what files the receiver has: those, and no part of another.
func (t *transfer) has(want []string) error {
	entries, err := os.ReadDir(t.received())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	var got []string
	for _, e := range entries {
		got = append(got, filepath.Join(t.received(), e.Name()))
	}
	slices.Sort(got)
	want = slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		return fmt.Errorf("%s has the files %q, want %q", t.to.name, got, want)
	}
	return nil
}

// files sends files of many kinds, and some that must not arrive.
func files(l *lab, c *couple) error {
	there := &transfer{l, c.alice, c.bob, c.aliceID, c.bobID}
	var have []string
	for _, f := range []struct {
		name string
		size int64
		say  string
	}{
		{"big.bin", bigFile, "100 MiB"},
		{"big.bin", 1 << 20, "another of that name"},
		{"empty", 0, "an empty file"},
		{"empty", 0, "another empty one"},
		{"a \"name\" with spaces, ž and 🙂.txt", 12345, "a name that is hard to quote"},
		{".hidden", 1, "a hidden one"},
		{strings.Repeat("n", 240) + ".txt", 10, "a long name"},
		{strings.Repeat("n", 240) + ".txt", 11, "another of that long name"},
	} {
		path, sum, err := l.file(f.name, f.size)
		if err != nil {
			return err
		}
		at, took, err := there.send(path, sum, f.size)
		if err != nil {
			return err
		}
		if slices.Contains(have, at) {
			return fmt.Errorf("a second file of a name has overwritten %q", at)
		}
		have = append(have, at)
		if f.size >= bigFile {
			l.say("%s in %.2f s, %.0f MB/s, with the same SHA-256 at both ends and on the disk", f.say, took.Seconds(), float64(f.size)/1e6/took.Seconds())
		}
		if err := os.RemoveAll(filepath.Dir(path)); err != nil {
			return err
		}
	}
	if err := there.has(have); err != nil {
		return err
	}
	l.say("%d more files, empty, of a taken name and of odd names, arrive beside it", len(have)-1)
	if err := tooBig(l, c); err != nil {
		return err
	}
	return cutOff(l, c, there, have)
}

// tooBig sends Alice the largest file that she takes, and a larger one.
func tooBig(l *lab, c *couple) error {
	back := &transfer{l, c.bob, c.alice, c.bobID, c.aliceID}
	path, sum, err := l.file("just right", smallFile)
	if err != nil {
		return err
	}
	at, _, err := back.send(path, sum, smallFile)
	if err != nil {
		return err
	}
	if path, _, err = l.file("too big", smallFile+1); err != nil {
		return err
	}
	e, err := c.bob.ask("/send "+c.aliceID+" "+path, netLimit, "filefailed", c.aliceID, "too big")
	if err != nil {
		return err
	}
	l.say("above -max-file: %s", e.fields[2])
	return back.has([]string{at})
}

// cutOff kills the receiver in the middle of a file.
func cutOff(l *lab, c *couple, there *transfer, have []string) error {
	path, _, err := l.file("cut off", bigFile)
	if err != nil {
		return err
	}
	fromAlice, fromBob := c.alice.mark(), c.bob.mark()
	if err := c.alice.tell("/send %s %s", c.bobID, path); err != nil {
		return err
	}
	if _, err := c.bob.await(fromBob, netLimit, "file", c.aliceID, "cut off"); err != nil {
		return err
	}
	if err := c.bob.kill(); err != nil {
		return err
	}
	begun := time.Now()
	restart := c.bob.mark()
	if err := c.bob.start(); err != nil {
		return err
	}
	e, err := c.alice.await(fromAlice, netLimit, "filefailed", c.bobID, "cut off")
	if err != nil {
		return err
	}
	failed := time.Since(begun)
	if _, err := c.bob.await(restart, netLimit, "friend", c.aliceID, "online"); err != nil {
		return err
	}
	if err := there.has(have); err != nil {
		return err
	}
	t := newTalk(c.alice, c.bob, c.aliceID, c.bobID)
	if err := t.send("after the file that was cut off"); err != nil {
		return err
	}
	if _, err := t.settle(netLimit, false); err != nil {
		return err
	}
	l.say("a receiver that is killed keeps no part; the sender knows after %.1f s: %s", failed.Seconds(), e.fields[2])
	return nil
}
