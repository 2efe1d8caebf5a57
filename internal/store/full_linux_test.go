package store_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/gocarrier/carrier/internal/store"
	"github.com/gocarrier/carrier/internal/store/storetest"
)

// TestFullDisk: what does not fit is refused with the reason, and nothing that
// was acknowledged is lost: neither on the full disk, nor when there is room
// again.
func TestFullDisk(t *testing.T) {
	storetest.SmallDisk(t, 2<<20, func(t *testing.T, small string) {
		full := func(what string, err error, is ...error) {
			t.Helper()
			for _, want := range append(is, syscall.ENOSPC) {
				if !errors.Is(err, want) {
					t.Errorf("%s on a full disk = %v, want %v", what, err, want)
				}
			}
			if err != nil && strings.Count(err.Error(), "no space left") != 1 {
				t.Errorf("%s on a full disk says %q", what, err)
			}
		}
		dir := filepath.Join(small, "state")
		filler := storetest.Fill(t, small)
		_, err := store.Open(dir, store.Secret{})
		full("first Open", err)
		room := func(file string) {
			t.Helper()
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
		}
		room(filler)
		ballast := filepath.Join(small, "ballast") // what can be thrown out later
		if err := os.WriteFile(ballast, make([]byte, 512<<10), 0o600); err != nil {
			t.Fatal(err)
		}

		open := func() *store.Disk {
			t.Helper()
			s, err := store.Open(dir, store.Secret{})
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		s := open()
		if err := s.Prekeys().Replace([]store.Prekey{{Number: 1}}); err != nil {
			t.Fatal(err)
		}
		acked := uint64(0)
		row := func(n uint64) (key, value []byte) {
			key = binary.BigEndian.AppendUint64(nil, n)
			return key, bytes.Repeat(key, 700)
		}
		// commit puts one row, and takes it for there only when Commit says so.
		commit := func() error {
			key, value := row(acked)
			var b store.Batch
			b.Put("t", nil, key, value)
			b.Put("last", nil, nil, key)
			if err := s.Commit(&b); err != nil {
				return err
			}
			acked++
			return nil
		}
		check := func(when string) {
			t.Helper()
			n := uint64(0)
			err := s.Range("t", nil, nil, func(key, value []byte) error {
				if k, v := row(n); !bytes.Equal(key, k) || !bytes.Equal(value, v) {
					t.Errorf("%s: row %d is %x", when, n, key)
				}
				n++
				return nil
			})
			if err != nil || n != acked {
				t.Errorf("%s: %d rows of %d acknowledged: %v", when, n, acked, err)
			}
			last, err := s.Get("last", nil, nil)
			if err != nil || binary.BigEndian.Uint64(last) != acked-1 {
				t.Errorf("%s: the last row is %x, %v, want %d", when, last, err, acked-1)
			}
		}
		for err = commit(); err == nil; err = commit() {
			if acked > 10_000 {
				t.Fatal("the disk does not fill")
			}
		}
		full("Commit", err, store.ErrFailed)
		full("the next Commit", commit(), store.ErrFailed)
		_, err = s.Get("t", nil, nil)
		full("Get after it", err, store.ErrFailed)
		if acked < 20 {
			t.Errorf("only %d rows were acknowledged", acked)
		}
		if err := s.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}

		filler = storetest.Fill(t, small)
		s = open()
		check("opened on the full disk")
		full("Prekeys.Replace", s.Prekeys().Replace(make([]store.Prekey, 1)))
		full("SetPassphrase", s.SetPassphrase([]byte("x")))
		for i := 0; err == nil || i == 0; i++ { // some fit in pages that are free
			if err = commit(); i > 1000 {
				t.Fatal("the disk is not full")
			}
		}
		full("Commit", err, store.ErrFailed)
		if err := s.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}

		room(filler)
		room(ballast)
		s = open()
		check("with room again")
		if list := s.Prekeys().All(); len(list) != 1 || list[0].Number != 1 {
			t.Errorf("%d prekeys, want number 1", len(list))
		}
		for range 20 {
			if err := commit(); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.SetPassphrase([]byte("x")); err != nil {
			t.Error(err)
		}
		check("going on")
		if err := s.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	})
}
