package store

import "testing"

// What the rows in memory take is counted whatever becomes of them.
func TestMemorySize(t *testing.T) {
	s := Memory()
	defer s.Close()
	for _, c := range []struct {
		what   string
		change func(b *Batch)
		want   int64
	}{
		{"two rows", func(b *Batch) {
			putTwo := func(owner []byte) {
				b.Put("t", owner, []byte("a"), []byte("12"))
				b.Put("t", owner, []byte("b"), nil)
			}
			putTwo(testOwner(1))
			putTwo(testOwner(2))
		}, 8},
		{"a longer value", func(b *Batch) { b.Put("t", testOwner(1), []byte("a"), []byte("12345")) }, 11},
		{"a row less", func(b *Batch) { b.Delete("t", testOwner(1), []byte("b")) }, 10},
		{"a row that is not there", func(b *Batch) { b.Delete("t", testOwner(1), []byte("b")) }, 10},
		{"an owner less", func(b *Batch) { b.DeleteOwner("t", testOwner(2)) }, 6},
		{"nobody left", func(b *Batch) { b.DeleteOwner("t", testOwner(1)) }, 0},
	} {
		var b Batch
		c.change(&b)
		if err := s.Commit(&b); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Size(); err != nil || got != c.want {
			t.Errorf("%s: size %d, %v, want %d", c.what, got, err, c.want)
		}
	}
}
