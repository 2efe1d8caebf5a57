package main

import (
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestCleanName(t *testing.T) {
	long := strings.Repeat("ä", 300)
	for _, test := range []struct{ in, want string }{
		{"photo.jpg", "photo.jpg"},
		{"Grüße aus Łódź 漢字 🎉.txt", "Grüße aus Łódź 漢字 🎉.txt"},
		{"", "file"},
		{".", "file"},
		{"..", "file"},
		{" . . ", "file"},
		{".bashrc", "bashrc"},
		{"...hidden", "hidden"},
		{"../../etc/passwd", "_.._etc_passwd"},
		{"/etc/passwd", "_etc_passwd"},
		{`C:\Windows\system.ini`, "C__Windows_system.ini"},
		{"a\x00b\nc\x1b[2J\x7f\u009b", "abc[2J"},
		{"gpj.\u202eexe", "gpj.exe"},
		{"in\u2028visible\u200b\ufeff\u00ad", "in visible"},
		{"nb\u00a0space\u3000", "nb space"},
		{"bad\xff\xfeutf8", "bad_utf8"},
		{"trailing. . .", "trailing"},
		{"nul", "_nul"},
		{"NUL.txt", "_NUL.txt"},
		{"Com1.tar.gz", "_Com1.tar.gz"},
		{"com¹", "_com¹"},
		{"lpt9 .x", "_lpt9 .x"},
		{"com10", "com10"},
		{"console", "console"},
		{"-rf", "_-rf"},
		{"~root", "_~root"},
		{"what?*|<>\"", "what______"},
		{"file:stream", "file_stream"},
		{long + ".txt", strings.Repeat("ä", 98) + ".txt"},
		{"x." + long, "x." + strings.Repeat("ä", 99)},
		{".chat-ABC.partial", "chat-ABC.partial"},
	} {
		if got := cleanName(test.in); got != test.want {
			t.Errorf("cleanName(%q) = %q, want %q", test.in, got, test.want)
		}
	}
}

// FuzzCleanName: whatever comes, the name is one in its directory, on every
// system, and clean.
func FuzzCleanName(f *testing.F) {
	for _, s := range []string{"", "a.txt", "../x", "\xff", "CON", "con .", "com1", ". .a", "-", "~.", strings.Repeat("x", 199) + ".", strings.Repeat(".é", 150), "nul." + strings.Repeat("y", 250), "a\u202eb", strings.Repeat("-", 300)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := cleanName(s)
		switch {
		case got == "" || len(got) > maxName:
			t.Fatalf("cleanName(%q) has %d bytes", s, len(got))
		case !utf8.ValidString(got):
			t.Fatalf("cleanName(%q) = %q is not UTF-8", s, got)
		case !filepath.IsLocal(got) || filepath.Base(got) != got || strings.ContainsAny(got, `/\:`):
			t.Fatalf("cleanName(%q) = %q is no name", s, got)
		case strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }):
			t.Fatalf("cleanName(%q) = %q cannot be shown", s, got)
		case strings.ContainsAny(got[:1], ". -~") || strings.ContainsAny(got[len(got)-1:], ". ") || isDevice(got):
			t.Fatalf("cleanName(%q) = %q", s, got)
		case cleanName(got) != got:
			t.Fatalf("cleanName(%q) = %q, and of that %q", s, got, cleanName(got))
		}
	})
}
