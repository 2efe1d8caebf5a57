package main

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, test := range []struct {
		line string
		want command
		bad  string // the name of the command that is wrong; "-": none is
	}{
		{"", command{}, "-"},
		{"hello there", command{text: "hello there"}, "-"},
		{" /me", command{text: " /me"}, "-"},
		{"//etc/hosts", command{text: "/etc/hosts"}, "-"},
		{"//", command{text: "/"}, "-"},
		{"/me", command{name: "me"}, "-"},
		{"/me  ", command{name: "me"}, "-"},
		{"/me too", command{}, "me"},
		{"/add", command{}, "add"},
		{"/add ADDR", command{name: "add", who: "ADDR"}, "-"},
		{"/add ADDR hi, it is me ", command{name: "add", who: "ADDR", text: "hi, it is me "}, "-"},
		{"/accept ID", command{name: "accept", who: "ID"}, "-"},
		{"/accept ID ", command{name: "accept", who: "ID"}, "-"},
		{"/accept ID now", command{}, "accept"},
		{"/accept", command{}, "accept"},
		{"/msg", command{}, "msg"},
		{"/msg bob", command{}, "msg"},
		{"/msg bob ", command{}, "msg"},
		{"/msg bob hi", command{name: "msg", who: "bob", text: "hi"}, "-"},
		{"/msg   bob  two spaces, and one behind ", command{name: "msg", who: "bob", text: " two spaces, and one behind "}, "-"},
		{"/msg bob  ", command{name: "msg", who: "bob", text: " "}, "-"},
		{"/msg bob /me", command{name: "msg", who: "bob", text: "/me"}, "-"},
		{"/send bob /files/a file.txt", command{name: "send", who: "bob", text: "/files/a file.txt"}, "-"},
		{"/label bob Robert the Bruce", command{name: "label", who: "bob", text: "Robert the Bruce"}, "-"},
		{"/label bob", command{name: "label", who: "bob"}, "-"},
		{"/quit", command{name: "quit"}, "-"},
		{"/", command{}, ""},
		{"/nope at all", command{}, "nope"},
		{"/ME", command{}, "ME"},
		{"/" + strings.Repeat("é", 100), command{}, strings.Repeat("é", 32)},
	} {
		got, err := parse(test.line)
		var bad *badCommand
		switch {
		case test.bad == "-" && err != nil:
			t.Errorf("parse(%q): %v", test.line, err)
		case test.bad != "-" && (!errors.As(err, &bad) || bad.name != test.bad):
			t.Errorf("parse(%q): %v, want an error of /%s", test.line, err, test.bad)
		case got != test.want:
			t.Errorf("parse(%q) = %+v, want %+v", test.line, got, test.want)
		}
	}
}

// FuzzParse: every line is a text, a command with what it must have, or an error
// of its own; nothing of a text is lost.
func FuzzParse(f *testing.F) {
	for _, line := range []string{"", "x", "/", "//", "/msg a b", "/msg  a  b ", "/add\x00 \xff", "/quit", "/nope", "/label  ", "/ msg"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		c, err := parse(line)
		if err != nil {
			var bad *badCommand
			if !errors.As(err, &bad) || !strings.HasPrefix(line, "/"+bad.name) || strings.HasPrefix(line, "//") {
				t.Fatalf("parse(%q): %v", line, err)
			}
			return
		}
		i := slices.IndexFunc(verbs(), func(v verb) bool { return v.name == c.name })
		switch {
		case c.name == "":
			if c.who != "" || c.text != line && "/"+c.text != line {
				t.Fatalf("parse(%q) = %+v", line, c)
			}
		case i < 0:
			t.Fatalf("parse(%q) gives the command %q", line, c.name)
		default:
			v := verbs()[i]
			if (c.who == "") != (v.who == without) || strings.Contains(c.who, " ") ||
				v.text == required && c.text == "" || v.text == without && c.text != "" ||
				!strings.HasSuffix(strings.TrimRight(line, " "), strings.TrimRight(c.text, " ")) {
				t.Fatalf("parse(%q) = %+v", line, c)
			}
		}
	})
}

func TestCommandOf(t *testing.T) {
	for line, want := range map[string]string{
		"/send bob xxx": "send", "/msg bob": "msg", "plain text": "msg", "/nope x": "msg", "/send": "msg", "": "msg",
	} {
		if got := commandOf(line); got != want {
			t.Errorf("commandOf(%q) = %q, want %q", line, got, want)
		}
	}
}
