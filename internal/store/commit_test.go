package store

import (
	"encoding/binary"
	"fmt"
	"sync"
	"testing"
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
