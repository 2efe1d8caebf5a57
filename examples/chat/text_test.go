package main

import (
	"strings"
	"testing"
	"unicode"
)

func TestVisible(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{"plain, ünïcode 漢字 🎉", "plain, ünïcode 漢字 🎉"},
		{"\x1b[2J\x1b]0;title\x07", `\x1b[2J\x1b]0;title\x07`},
		{"\u009b31m", `\x9b31m`},
		{"a\tb\u00a0c", "a b c"},
		{"a\nb\rc", `a\nb\x0dc`},
		{"\u202etxt.exe\u2066", `\u202etxt.exe\u2066`},
		{"\u2028\ufeff\u200b", `\u2028\ufeff\u200b`},
		{"👩\u200d💻", "👩\u200d💻"},
		{"\xff\xc0", `\xff\xc0`},
		{"\x7f\x00", `\x7f\x00`},
		{"\ufffd", "\ufffd"},
	} {
		if got := visible(test.in); got != test.want {
			t.Errorf("visible(%q) = %q, want %q", test.in, got, test.want)
		}
	}
	if got, want := paragraph("one\ntwo\r\n\x1bthree"), "one\n    two\n    \\x1bthree"; got != want {
		t.Errorf("paragraph gives %q, want %q", got, want)
	}
}

// FuzzVisible: nothing of what others write is obeyed by a terminal, or moves
// what stands around it.
func FuzzVisible(f *testing.F) {
	for _, s := range []string{"", "a", "\x1b[31m", "\u202e", "\xff", "\r\n", "\u009b", "\U000e0041"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := visible(s)
		if strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) && r != '\u200c' && r != '\u200d' }) {
			t.Fatalf("visible(%q) = %q", s, got)
		}
		for i, line := range strings.Split(paragraph(s), "\n") {
			if i > 0 && !strings.HasPrefix(line, "    ") {
				t.Fatalf("paragraph(%q) has the line %q", s, line)
			}
		}
	})
}
