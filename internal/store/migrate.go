package store

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"go.etcd.io/bbolt"
)

// A migration brings the rows of a database from one format to the next. It
// must do nothing but call bbolt, and return its errors.
//
// The format is one number for everything in the database, the bytes of rows
// too: it must rise with each change after which an older version would
// misread what this one writes. Where the room that owns a row reads its older
// forms by itself, the migration is nil and only the number rises.
type migration func(tx *bbolt.Tx, k *keys) error

// migrations returns what leads from format 1 to this version's, in order. What
// has been released here is never changed or removed. The root's testdata holds
// a directory of each format that this version must open.
func migrations() []migration {
	return []migration{
		nil, // 2: rows of friends tell whether a request of ours is stored
	}
}

// newest is the format that a list of migrations ends at: what is written, and
// the highest that is read.
func newest(steps []migration) uint32 { return 1 + uint32(len(steps)) }

// migrate brings a database of an older format to the newest, all the way or
// not at all: it is one transaction, so that a crash, an error, a damaged row
// or a full disk leave the old one.
func (s *Disk) migrate(from uint32, steps []migration) error {
	if from == newest(steps) {
		return nil
	}
	err := guard(func() error {
		return s.db.Update(func(tx *bbolt.Tx) error {
			if err := s.check(tx); err != nil { // what is damaged is not written to
				return err
			}
			for _, step := range steps[from-1:] {
				if step == nil {
					continue
				}
				if err := step(tx, s.keys); err != nil {
					return err
				}
			}
			return tx.Bucket(metaBucket).Put(metaFormat, binary.BigEndian.AppendUint32(nil, newest(steps)))
		})
	})
	if err != nil {
		return fmt.Errorf("bring %s from format %d to %d: %w; nothing has changed", s.file.Name(), from, newest(steps), err)
	}
	return nil
}

// check opens every row.
func (s *Disk) check(tx *bbolt.Tx) error {
	return tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
		if bytes.Equal(name, metaBucket) {
			return nil
		}
		return b.ForEach(func(address, sealed []byte) error {
			_, _, _, err := s.keys.openRow(string(name), address, sealed)
			return err
		})
	})
}
