package store_test

import (
	"testing"

	"github.com/gocarrier/carrier/internal/store"
	"github.com/gocarrier/carrier/internal/store/storetest"
)

func TestMemory(t *testing.T) {
	storetest.Run(t, func(*testing.T) store.Store { return store.Memory() }, nil)
}

func TestDisk(t *testing.T) {
	dirs := make(map[store.Store]string)
	open := func(t *testing.T, dir string) store.Store {
		s, err := store.Open(dir, store.Secret{})
		if err != nil {
			t.Fatal(err)
		}
		dirs[s] = dir
		return s
	}
	storetest.Run(t, func(t *testing.T) store.Store { return open(t, t.TempDir()) },
		func(t *testing.T, s store.Store) store.Store {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			return open(t, dirs[s])
		})
}
