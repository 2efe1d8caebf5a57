// Package storetest holds the tests that every store.Store must pass.
package storetest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gocarrier/carrier/internal/store"
)

// Run runs all tests. open returns a new, empty store each time; Run closes
// it. Where the rows outlive Close, reopen closes a store that open gave and
// returns one with the same rows; otherwise reopen is nil.
func Run(t *testing.T, open func(t *testing.T) store.Store, reopen func(t *testing.T, s store.Store) store.Store) {
	t.Helper()
	for _, test := range []struct {
		name string
		run  func(t *testing.T, s store.Store)
	}{
		{"rows", testRows},
		{"empty value", testEmptyValue},
		{"batch order", testBatchOrder},
		{"batch reuse", testBatchReuse},
		{"order", testOrder},
		{"long range", testLongRange},
		{"owners apart", testOwnersApart},
		{"all", testAll},
		{"delete owner", testDeleteOwner},
		{"stop", testStop},
		{"change while ranging", testChangeWhileRanging},
		{"copies", testCopies},
		{"limits", testLimits},
		{"large values", testLargeValues},
		{"size", testSize},
		{"atomicity", testAtomicity},
		{"concurrent commits", testConcurrentCommits},
		{"closed", testClosed},
		{"close while committing", testCloseWhileCommitting},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := open(t)
			defer s.Close()
			test.run(t, s)
		})
	}
	if reopen != nil {
		t.Run("reopen", func(t *testing.T) { testReopen(t, open(t), reopen) })
	}
}

// owner returns a distinct owner for each n.
func owner(n byte) []byte { return bytes.Repeat([]byte{n}, store.OwnerSize) }

// num returns an ordered key.
func num(n int) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }

// put commits one row of table "t".
func put(t *testing.T, s store.Store, own, key, value []byte) {
	t.Helper()
	var b store.Batch
	b.Put("t", own, key, value)
	commit(t, s, &b)
}

func commit(t *testing.T, s store.Store, b *store.Batch) {
	t.Helper()
	if err := s.Commit(b); err != nil {
		t.Fatalf("Commit: %v", err)
	}
}

// want checks one row; a nil value means that there is none.
func want(t *testing.T, s store.Store, table string, own, key, value []byte) {
	t.Helper()
	got, err := s.Get(table, own, key)
	if err != nil || !bytes.Equal(got, value) || (got == nil) != (value == nil) {
		t.Errorf("Get(%s, %.4x, %x) = %.40q (nil: %t), %v; want %.40q", table, own, key, got, got == nil, err, value)
	}
}

// list returns the rows of an owner as "key=value".
func list(t *testing.T, s store.Store, table string, own, from []byte) []string {
	t.Helper()
	rows := []string{}
	if err := s.Range(table, own, from, func(key, value []byte) error {
		rows = append(rows, fmt.Sprintf("%s=%s", key, value))
		return nil
	}); err != nil {
		t.Fatalf("Range: %v", err)
	}
	return rows
}

func wantList(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got rows %q, want %q", got, want)
	}
}

func testRows(t *testing.T, s store.Store) {
	want(t, s, "t", owner(1), []byte("k"), nil)
	put(t, s, owner(1), []byte("k"), []byte("one"))
	want(t, s, "t", owner(1), []byte("k"), []byte("one"))
	put(t, s, owner(1), []byte("k"), []byte("two"))
	want(t, s, "t", owner(1), []byte("k"), []byte("two"))
	want(t, s, "other", owner(1), []byte("k"), nil)
	want(t, s, "t", owner(2), []byte("k"), nil)
	want(t, s, "t", owner(1), []byte("kk"), nil)
	want(t, s, "t", owner(1), nil, nil)
	put(t, s, owner(1), nil, []byte("no key"))
	want(t, s, "t", owner(1), []byte{}, []byte("no key"))
	var b store.Batch
	b.Delete("t", owner(1), []byte("k"))
	b.Delete("t", owner(1), []byte("never there"))
	b.Delete("no table", owner(1), []byte("k"))
	commit(t, s, &b)
	want(t, s, "t", owner(1), []byte("k"), nil)
	want(t, s, "t", owner(1), nil, []byte("no key"))
}

func testEmptyValue(t *testing.T, s store.Store) {
	put(t, s, owner(1), []byte("nil"), nil)
	put(t, s, owner(1), []byte("empty"), []byte{})
	want(t, s, "t", owner(1), []byte("nil"), []byte{})
	want(t, s, "t", owner(1), []byte("empty"), []byte{})
	if err := s.Range("t", owner(1), nil, func(key, value []byte) error {
		if value == nil {
			t.Errorf("Range gives a nil value for %q", key)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	wantList(t, list(t, s, "t", owner(1), nil), "empty=", "nil=")
}

func testBatchOrder(t *testing.T, s store.Store) {
	var b store.Batch
	b.Put("t", nil, []byte("a"), []byte("1"))
	b.Put("t", nil, []byte("a"), []byte("2"))
	b.Put("t", nil, []byte("b"), []byte("1"))
	b.Delete("t", nil, []byte("b"))
	b.Delete("t", nil, []byte("c"))
	b.Put("t", nil, []byte("c"), []byte("1"))
	b.Put("u", nil, []byte("d"), []byte("1"))
	b.DeleteOwner("u", nil)
	b.Put("u", nil, []byte("e"), []byte("1"))
	if got := b.Len(); got != 9 {
		t.Errorf("Len = %d, want 9", got)
	}
	commit(t, s, &b)
	wantList(t, list(t, s, "t", nil, nil), "a=2", "c=1")
	wantList(t, list(t, s, "u", nil, nil), "e=1")
}

func testBatchReuse(t *testing.T, s store.Store) {
	var b store.Batch
	commit(t, s, &b) // empty
	b.Put("t", nil, []byte("a"), []byte("1"))
	commit(t, s, &b)
	commit(t, s, &b) // again, the same
	b.Reset()
	if b.Len() != 0 || len(b.Ops()) != 0 {
		t.Errorf("after Reset Len = %d, %d Ops", b.Len(), len(b.Ops()))
	}
	b.Put("t", nil, []byte("b"), []byte("2"))
	commit(t, s, &b)
	wantList(t, list(t, s, "t", nil, nil), "a=1", "b=2")
}

func testOrder(t *testing.T, s store.Store) {
	for _, k := range []string{"m", "b", "\xff", "ba", "a", "\x00", "", "b\x00"} {
		put(t, s, owner(9), []byte(k), []byte("v"))
	}
	all := []string{"=v", "\x00=v", "a=v", "b=v", "b\x00=v", "ba=v", "m=v", "\xff=v"}
	wantList(t, list(t, s, "t", owner(9), nil), all...)
	wantList(t, list(t, s, "t", owner(9), []byte("b")), all[3:]...)
	wantList(t, list(t, s, "t", owner(9), []byte("b\x00\x00")), all[5:]...)
	wantList(t, list(t, s, "t", owner(9), []byte("\xff\xff")))
	wantList(t, list(t, s, "none", owner(9), nil))
}

func testLongRange(t *testing.T, s store.Store) {
	const rows = 1500
	var b store.Batch
	for i := range rows {
		b.Put("t", owner(1), num(i*7919%rows), []byte("v"))
	}
	b.Put("t", owner(0), num(0), nil)
	b.Put("t", owner(2), num(0), nil)
	commit(t, s, &b)
	for _, from := range []int{0, 255, 256, 257, rows} {
		next := from
		err := s.Range("t", owner(1), num(from), func(key, _ []byte) error {
			if !bytes.Equal(key, num(next)) {
				return fmt.Errorf("key %x, want %x", key, num(next))
			}
			next++
			return nil
		})
		if err != nil || next != rows {
			t.Errorf("Range from %d ended at %d with %v, want %d", from, next, err, rows)
		}
	}
}

func testOwnersApart(t *testing.T, s store.Store) {
	var b store.Batch
	for _, own := range [][]byte{nil, owner(0), owner(1), owner(2), owner(255)} {
		b.Put("t", own, []byte("k"), fmt.Appendf(nil, "%.2x", own))
	}
	commit(t, s, &b)
	wantList(t, list(t, s, "t", nil, nil), "k=")
	wantList(t, list(t, s, "t", []byte{}, nil), "k=")
	wantList(t, list(t, s, "t", owner(0), nil), "k=0000")
	wantList(t, list(t, s, "t", owner(1), nil), "k=0101")
	b.Reset()
	b.Delete("t", owner(1), []byte("k"))
	commit(t, s, &b)
	wantList(t, list(t, s, "t", owner(1), nil))
	wantList(t, list(t, s, "t", owner(2), nil), "k=0202")
	wantList(t, list(t, s, "t", nil, nil), "k=")
}

func testAll(t *testing.T, s store.Store) {
	var b store.Batch
	const rows = 300
	for _, own := range [][]byte{nil, owner(0), owner(1), owner(2)} {
		for i := range rows {
			b.Put("t", own, num(i), own)
		}
	}
	b.Put("u", owner(3), nil, nil)
	commit(t, s, &b)
	next := make(map[string]int)
	last, switches := "?", 0
	if err := s.All("t", func(own, key, value []byte) error {
		if len(own) == 0 && own != nil {
			t.Error("no owner is not nil")
		}
		if !bytes.Equal(own, value) || !bytes.Equal(key, num(next[string(own)])) {
			t.Errorf("All gives owner %.2x key %x value %.2x, want key %x", own, key, value, num(next[string(own)]))
		}
		if string(own) != last {
			last = string(own)
			switches++
		}
		next[string(own)]++
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(next) != 4 || switches != 4 || next[""] != rows || next[string(owner(2))] != rows {
		t.Errorf("All gave %d owners in %d runs, want 4 in 4", len(next), switches)
	}
	if err := s.All("none", func(_, _, _ []byte) error { return errors.New("a row") }); err != nil {
		t.Errorf("All of no table: %v", err)
	}
}

func testDeleteOwner(t *testing.T, s store.Store) {
	var b store.Batch
	for i := range 600 {
		b.Put("t", owner(1), num(i), []byte("v"))
	}
	b.Put("t", owner(2), nil, []byte("stays"))
	b.Put("t", nil, nil, []byte("stays"))
	b.Put("u", owner(1), nil, []byte("stays"))
	commit(t, s, &b)
	b.Reset()
	b.DeleteOwner("t", owner(1))
	b.DeleteOwner("t", owner(7))
	b.DeleteOwner("none", owner(1))
	commit(t, s, &b)
	wantList(t, list(t, s, "t", owner(1), nil))
	wantList(t, list(t, s, "t", owner(2), nil), "=stays")
	wantList(t, list(t, s, "t", nil, nil), "=stays")
	wantList(t, list(t, s, "u", owner(1), nil), "=stays")
}

func testStop(t *testing.T, s store.Store) {
	var b store.Batch
	for i := range 3 {
		b.Put("t", nil, num(i), nil)
	}
	commit(t, s, &b)
	stop := errors.New("enough")
	calls := 0
	if err := s.Range("t", nil, nil, func(_, _ []byte) error { calls++; return stop }); !errors.Is(err, stop) || calls != 1 {
		t.Errorf("Range = %v after %d calls, want the error of the first", err, calls)
	}
	calls = 0
	if err := s.All("t", func(_, _, _ []byte) error { calls++; return stop }); !errors.Is(err, stop) || calls != 1 {
		t.Errorf("All = %v after %d calls, want the error of the first", err, calls)
	}
}

func testChangeWhileRanging(t *testing.T, s store.Store) {
	const rows = 700
	value := bytes.Repeat([]byte("x"), 3000) // the database must grow meanwhile
	var b store.Batch
	for i := range rows {
		b.Put("t", nil, num(i), nil)
	}
	commit(t, s, &b)
	seen := 0
	if err := s.Range("t", nil, nil, func(key, _ []byte) error {
		seen++
		b.Reset()
		b.Delete("t", nil, key)
		b.Put("moved", nil, key, value)
		if _, err := s.Get("t", nil, key); err != nil {
			return err
		}
		if seen%50 != 0 { // a commit for each would only take longer
			return nil
		}
		return s.Commit(&b)
	}); err != nil {
		t.Fatal(err)
	}
	if seen != rows {
		t.Errorf("saw %d rows, want %d", seen, rows)
	}
	if got := len(list(t, s, "moved", nil, nil)); got != rows/50 {
		t.Errorf("moved %d rows, want %d", got, rows/50)
	}
}

func testCopies(t *testing.T, s store.Store) {
	own, key, value := owner(1), []byte("key"), []byte("value")
	var b store.Batch
	b.Put("t", own, key, value)
	spoil := func(bs ...[]byte) {
		for _, b := range bs {
			clear(b)
		}
	}
	spoil(own, key, value)
	commit(t, s, &b)
	b.Reset()
	b.Put("t", owner(3), []byte("other"), []byte("bytes"))
	check := func() {
		t.Helper()
		want(t, s, "t", owner(1), []byte("key"), []byte("value"))
	}
	check()
	got, err := s.Get("t", owner(1), []byte("key"))
	if err != nil {
		t.Fatal(err)
	}
	spoil(got)
	check()
	if err := s.Range("t", owner(1), nil, func(k, v []byte) error { spoil(k, v); return nil }); err != nil {
		t.Fatal(err)
	}
	check()
	if err := s.All("t", func(o, k, v []byte) error { spoil(o, k, v); return nil }); err != nil {
		t.Fatal(err)
	}
	check()
	wantList(t, list(t, s, "t", owner(1), nil), "key=value")
}

func testLimits(t *testing.T, s store.Store) {
	good := func(b *store.Batch) { b.Put("t", nil, []byte("good"), nil) }
	for name, add := range map[string]func(*store.Batch){
		"no table":    func(b *store.Batch) { b.Put("", nil, nil, nil) },
		"long table":  func(b *store.Batch) { b.Put(strings.Repeat("t", store.MaxTable+1), nil, nil, nil) },
		"zero table":  func(b *store.Batch) { b.Put("\x00meta", nil, []byte("format"), nil) },
		"short owner": func(b *store.Batch) { b.Put("t", owner(1)[1:], nil, nil) },
		"long owner":  func(b *store.Batch) { b.DeleteOwner("t", append(owner(1), 1)) },
		"long key":    func(b *store.Batch) { b.Delete("t", nil, make([]byte, store.MaxKey+1)) },
		"long value":  func(b *store.Batch) { b.Put("t", nil, nil, make([]byte, store.MaxValue+1)) },
	} {
		var b store.Batch
		good(&b)
		add(&b)
		good(&b)
		if err := s.Commit(&b); !errors.Is(err, store.ErrLimit) {
			t.Errorf("%s: Commit = %v, want ErrLimit", name, err)
		}
		want(t, s, "t", nil, []byte("good"), nil)
	}
	if _, err := s.Get("", nil, nil); !errors.Is(err, store.ErrLimit) {
		t.Errorf("Get of no table = %v, want ErrLimit", err)
	}
	if err := s.Range("t", owner(1)[1:], nil, nil); !errors.Is(err, store.ErrLimit) {
		t.Errorf("Range of a short owner = %v, want ErrLimit", err)
	}
	if err := s.All("", nil); !errors.Is(err, store.ErrLimit) {
		t.Errorf("All of no table = %v, want ErrLimit", err)
	}
	var b store.Batch
	table, key, value := strings.Repeat("t", store.MaxTable), bytes.Repeat([]byte{255}, store.MaxKey), bytes.Repeat([]byte{7}, store.MaxValue)
	b.Put(table, owner(255), key, value)
	commit(t, s, &b)
	want(t, s, table, owner(255), key, value)
}

func testLargeValues(t *testing.T, s store.Store) {
	const rows, size = 20, 64<<10 + 512 // more than one page of a scan
	var b store.Batch
	for i := range rows {
		b.Put("t", owner(1), num(i), bytes.Repeat([]byte{byte(i)}, size+i))
	}
	commit(t, s, &b)
	n := 0
	if err := s.Range("t", owner(1), nil, func(key, value []byte) error {
		if !bytes.Equal(key, num(n)) || !bytes.Equal(value, bytes.Repeat([]byte{byte(n)}, size+n)) {
			t.Errorf("row %d has key %x and %d bytes", n, key, len(value))
		}
		n++
		return nil
	}); err != nil || n != rows {
		t.Errorf("Range gave %d rows and %v, want %d", n, err, rows)
	}
}

func testSize(t *testing.T, s store.Store) {
	before, err := s.Size()
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, nil, nil, make([]byte, store.MaxValue))
	after, err := s.Size()
	if err != nil || after < before+store.MaxValue {
		t.Errorf("Size = %d, %v after %d and a row of %d", after, err, before, store.MaxValue)
	}
}

// testAtomicity writes the same number to many rows in one batch, while
// readers must never see two of them differ the wrong way: a page of a range is
// of one moment, and what is read later is newer.
func testAtomicity(t *testing.T, s store.Store) {
	const rows, rounds = 20, 50
	write := func(round int) error {
		var b store.Batch
		for i := range rows {
			b.Put("t", owner(1), num(i), num(round))
		}
		return s.Commit(&b)
	}
	if err := write(0); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				var first []byte
				n := 0
				if err := s.Range("t", owner(1), nil, func(_, value []byte) error {
					if first == nil {
						first = value
					}
					if n++; !bytes.Equal(first, value) {
						return fmt.Errorf("torn batch: row %d of round %x, first of %x", n, value, first)
					}
					return nil
				}); err != nil || n != rows {
					t.Errorf("Range gave %d rows and %v, want %d", n, err, rows)
					return
				}
			}
		})
	}
	for round := 1; round <= rounds; round++ {
		if err := write(round); err != nil {
			t.Error(err)
			break
		}
	}
	close(done)
	wg.Wait()
}

func testConcurrentCommits(t *testing.T, s store.Store) {
	const writers, each = 16, 30
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				var b store.Batch
				b.Put("t", owner(byte(w)), num(i), num(w*i))
				b.Put("count", owner(byte(w)), nil, num(i+1))
				if err := s.Commit(&b); err != nil {
					t.Errorf("Commit: %v", err)
					return
				}
				// One's own commit is seen at once.
				if got, err := s.Get("t", owner(byte(w)), num(i)); err != nil || !bytes.Equal(got, num(w*i)) {
					t.Errorf("after Commit Get = %x, %v, want %x", got, err, num(w*i))
				}
				// A bad batch in the same group harms nobody else.
				b.Put("", nil, nil, nil)
				if err := s.Commit(&b); !errors.Is(err, store.ErrLimit) {
					t.Errorf("bad Commit = %v, want ErrLimit", err)
				}
			}
		})
	}
	wg.Wait()
	for w := range writers {
		want(t, s, "count", owner(byte(w)), nil, num(each))
		if got := len(list(t, s, "t", owner(byte(w)), nil)); got != each {
			t.Errorf("writer %d left %d rows, want %d", w, got, each)
		}
	}
}

func wantClosed(t *testing.T, s store.Store) {
	t.Helper()
	var b store.Batch
	empty := s.Commit(&b)
	b.Put("t", nil, nil, nil)
	_, get := s.Get("t", nil, nil)
	_, size := s.Size()
	never := func() error { return errors.New("called after Close") }
	for call, err := range map[string]error{
		"empty Commit": empty,
		"Commit":       s.Commit(&b),
		"Get":          get,
		"Range":        s.Range("t", nil, nil, func(_, _ []byte) error { return never() }),
		"All":          s.All("t", func(_, _, _ []byte) error { return never() }),
		"Size":         size,
	} {
		if !errors.Is(err, store.ErrClosed) {
			t.Errorf("%s after Close = %v, want ErrClosed", call, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Errorf("second Close = %v", err)
	}
}

func testClosed(t *testing.T, s store.Store) {
	put(t, s, nil, nil, []byte("v"))
	if err := s.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
	wantClosed(t, s)
}

func testCloseWhileCommitting(t *testing.T, s store.Store) {
	started := make(chan struct{}, 64)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := 0; ; i++ {
				var b store.Batch
				b.Put("t", owner(byte(w)), num(i), nil)
				err := s.Commit(&b)
				if err == nil {
					_, err = s.Get("t", owner(byte(w)), num(i))
				}
				if err != nil {
					if !errors.Is(err, store.ErrClosed) {
						t.Errorf("while closing: %v, want ErrClosed", err)
					}
					return
				}
				select {
				case started <- struct{}{}:
				default:
				}
			}
		})
	}
	for range cap(started) {
		<-started
	}
	if err := s.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
	wg.Wait()
	wantClosed(t, s)
}

func testReopen(t *testing.T, s store.Store, reopen func(t *testing.T, s store.Store) store.Store) {
	var b store.Batch
	b.Put("t", owner(1), []byte("a"), []byte("1"))
	b.Put("t", nil, nil, []byte("2"))
	b.Put("t", owner(1), []byte("gone"), []byte("3"))
	commit(t, s, &b)
	b.Reset()
	b.Delete("t", owner(1), []byte("gone"))
	commit(t, s, &b)
	for range 2 {
		old := s
		s = reopen(t, s)
		wantClosed(t, old)
		wantList(t, list(t, s, "t", owner(1), nil), "a=1")
		wantList(t, list(t, s, "t", nil, nil), "=2")
	}
	if err := s.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
}
