package main

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
)

// readAll gives each line, and "!" and the command for one that is too long.
func readAll(t *testing.T, r io.Reader, limit int) []string {
	t.Helper()
	l := newLines(r, limit)
	var all []string
	for {
		line, err := l.read()
		var long *longLine
		switch {
		case errors.Is(err, io.EOF):
			return all
		case errors.As(err, &long):
			line = "!" + long.command
		case err != nil:
			t.Fatal(err)
		}
		all = append(all, line)
	}
}

func TestLines(t *testing.T) {
	ten := strings.Repeat("x", 10)
	long := "/send bob " + strings.Repeat("y", 300)
	for _, test := range []struct{ in, want string }{
		{"", ""},
		{"\n", "|"},
		{"a\nb\n", "a|b|"},
		{"a\nb", "a|b|"},
		{"a\r\nb\r\r\n", "a|b\r|"},
		{ten + "\n" + ten + "x\n" + ten + "\r\n" + ten + "x\r\n" + ten, ten + "|!msg|" + ten + "|!msg|" + ten + "|"},
		{ten + "xx", "!msg|"},
		{long + "\nafter\n", "!send|after|"},
		{long, "!send|"},
		{long + "\n" + long + "\nz", "!send|!send|z|"},
	} {
		for name, r := range map[string]io.Reader{
			"at once": strings.NewReader(test.in),
			"by byte": iotest.OneByteReader(strings.NewReader(test.in)),
		} {
			got := ""
			for _, line := range readAll(t, r, 10) {
				got += line + "|"
			}
			if got != test.want {
				t.Errorf("%.30q %s: %q, want %q", test.in, name, got, test.want)
			}
		}
	}
}

// TestLongLineIsCheap: a line of any length takes no more than the buffer.
func TestLongLineIsCheap(t *testing.T) {
	const huge = 256 << 20
	in := io.MultiReader(io.LimitReader(zeros{}, huge), strings.NewReader("\nafter\n"))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	got := readAll(t, in, lineLimit)
	runtime.ReadMemStats(&after)
	if len(got) != 2 || got[0] != "!msg" || got[1] != "after" {
		t.Errorf("%q was read, want a long line and \"after\"", got)
	}
	if took := after.TotalAlloc - before.TotalAlloc; took > 4*lineLimit {
		t.Errorf("%d bytes were allocated for a line of %d, want at most %d", took, huge, 4*lineLimit)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// FuzzLines: the lines are those that splitting gives, the long ones marked.
func FuzzLines(f *testing.F) {
	for _, in := range []string{"", "\n\n", "a\r\nb", strings.Repeat("long", 20) + "\nshort\r\n", "\r", "12345678901234567\r\n", "1234567890123456\r\n"} {
		f.Add([]byte(in))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		const limit = 16
		var want []string
		for rest := in; len(rest) > 0; {
			var line []byte
			line, rest, _ = bytes.Cut(rest, []byte("\n"))
			line = bytes.TrimSuffix(line, []byte("\r"))
			if len(line) > limit {
				line = []byte("!")
			}
			want = append(want, string(line))
		}
		l := newLines(iotest.HalfReader(bytes.NewReader(in)), limit)
		for i := 0; ; i++ {
			line, err := l.read()
			if errors.Is(err, io.EOF) {
				if i != len(want) {
					t.Fatalf("%q: %d lines, want %q", in, i, want)
				}
				return
			}
			if err != nil {
				line = "!"
			}
			if i >= len(want) || line != want[i] {
				t.Fatalf("%q: line %d is %q, want %q", in, i, line, want)
			}
		}
	})
}
