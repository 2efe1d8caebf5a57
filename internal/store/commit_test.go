package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"
)

// Callers that come while a commit is under way share the next one.
func TestSharedCommit(t *testing.T) {
	s := openTest(t, t.TempDir(), nil)
	putTest(t, s, "t", nil, nil, nil)
	const callers = 20
	s.writing.Lock() // a commit is under way
	first := s.txid(t)
	var wg sync.WaitGroup
	for i := range byte(callers) {
		wg.Go(func() { putTest(t, s, "t", testOwner(i), nil, nil) })
	}
	for joined := 0; joined < callers; {
		s.mu.Lock()
		if s.next != nil {
			joined = len(s.next.batches)
		}
		s.mu.Unlock()
	}
	s.writing.Unlock()
	wg.Wait()
	if got := s.txid(t) - first; got != 1 {
		t.Errorf("%d callers took %d commits, want 1", callers, got)
	}
}

// A commit that waits while the one before it fails is not written: it rests on
// what was lost. (It joins when the store still works, so that Commit lets it in.)
func TestCommitBehindAFailedOne(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, nil)
	s.writing.Lock() // as the one before it
	behind := make(chan error, 1)
	go func() {
		var b Batch
		b.Put("t", nil, []byte("behind"), nil)
		behind <- s.Commit(&b)
	}()
	for waits := false; !waits; time.Sleep(time.Millisecond) {
		s.mu.Lock()
		waits = s.next != nil
		s.mu.Unlock()
	}
	failed := s.fail(errors.New("no room"))
	s.writing.Unlock()
	if err := <-behind; !errors.Is(err, failed) {
		t.Errorf("Commit = %v, want %v", err, failed)
	}
	s.Close()
	s = openTest(t, dir, nil)
	if got, err := s.Get("t", nil, []byte("behind")); err != nil || got != nil {
		t.Errorf("it was written: %q, %v", got, err)
	}
}

// txid returns how many transactions the database has seen.
func (s *Disk) txid(t *testing.T) int {
	t.Helper()
	tx, err := s.db.Begin(false)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	return tx.ID()
}

func BenchmarkCommit(b *testing.B) {
	for _, writers := range []int{1, 16} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			s := openTest(b, b.TempDir(), nil)
			first := 0
			if tx, err := s.db.Begin(false); err == nil {
				first = tx.ID()
				tx.Rollback()
			}
			value := make([]byte, 200)
			b.ReportAllocs()
			var wg sync.WaitGroup
			next := make(chan int, writers)
			b.ResetTimer()
			for w := range writers {
				wg.Go(func() {
					var batch Batch
					for i := range next {
						batch.Reset()
						batch.Put("outbox", testOwner(byte(w)), binary.BigEndian.AppendUint64(nil, uint64(i)), value)
						if err := s.Commit(&batch); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			for i := range b.N {
				next <- i
			}
			close(next)
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
			if tx, err := s.db.Begin(false); err == nil {
				b.ReportMetric(float64(b.N)/float64(tx.ID()-first), "commits/tx")
				tx.Rollback()
			}
		})
	}
}

func BenchmarkGet(b *testing.B) {
	s := openTest(b, b.TempDir(), nil)
	putTest(b, s, "outbox", testOwner(1), nil, make([]byte, 200))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Get("outbox", testOwner(1), nil); err != nil {
			b.Fatal(err)
		}
	}
}
