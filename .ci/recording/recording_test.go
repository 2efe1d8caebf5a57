package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParseLine(t *testing.T) {
	for _, test := range []struct {
		in   string
		want line
	}{
		{"", nil},
		{"ab  ", line{{'a', plain}, {'b', plain}}},
		{"\x1b[1;31mx\x1b[0my", line{{'x', style{color: 1, bold: true}}, {'y', plain}}},
		{"\x1b[2m…\x1b[22m\x1b[96m✓\x1b[39m.", line{{'…', style{color: -1, dim: true}}, {'✓', style{color: 14}}, {'.', plain}}},
		{"\x1b[7m \x1b[27m ", line{{' ', style{color: -1, reverse: true}}}},
		{"a\x1b[3", line{{'a', plain}}}, // cut short
		{"\x0ea\x0f\x1b[Kb", line{{'a', plain}, {'b', plain}}},
	} {
		if got, _ := parseLine(test.in, plain); !slices.Equal(got, test.want) {
			t.Errorf("parseLine(%q) = %v, want %v", test.in, got, test.want)
		}
	}
	if _, got := parseLine("\x1b[32mx", plain); got != (style{color: 2}) {
		t.Errorf("the next row begins with %v", got)
	}
}

// picture makes frames of one terminal, a second apart.
func picture(screens ...string) []frame {
	var frames []frame
	for i, screen := range screens {
		f := frame{at: time.Unix(int64(i), 0), screens: [][]line{nil}}
		for row := range strings.SplitSeq(screen, "\n") {
			l, _ := parseLine(row, plain)
			f.screens[0] = append(f.screens[0], l)
		}
		frames = append(frames, f)
	}
	return frames
}

func TestRender(t *testing.T) {
	frames := picture("$ ", "$ <a>   b", "$ <a>   b\n$ ")
	frames[2].at = frames[1].at.Add(time.Hour)
	got := string(render([]string{"A & B"}, frames))
	for _, want := range []string{
		"A &amp; B",
		`<g id="t1"><text textLength="40">$ &lt;a&gt;</text><text x="64" textLength="8">b</text></g>`,
		"8.5s infinite", // 1 s, the longest pause, the last one
		"@keyframes k0{0%{opacity:1}11.8%{opacity:0}}",
		"@keyframes k1{0%{opacity:0}11.8%{opacity:1}}",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
	if n := strings.Count(got, ">$</text>"); n != 1 {
		t.Errorf("a row that comes twice is drawn %d times, want once", n)
	}
	check(t, []byte(got))
}

// The recording that README.md shows is one of these: whole, small, and with
// nothing in it that is fetched.
func TestTheOneInTheRepository(t *testing.T) {
	b, err := os.ReadFile("../../docs/chat.svg")
	if err != nil {
		t.Fatal(err)
	}
	if len(b) > 60_000 {
		t.Errorf("it has %d bytes, want at most 60,000", len(b))
	}
	check(t, b)
	for _, want := range []string{"/add", "/accept", "SHA-256", "until they are there"} {
		if !bytes.Contains(b, []byte(want)) {
			t.Errorf("it does not show %q", want)
		}
	}
}

func check(t *testing.T, svg []byte) {
	t.Helper()
	if found := regexp.MustCompile(`url\(|@import|<script|<image|<foreignObject|href="[^#]`).Find(svg); found != nil {
		t.Errorf("it refers to something outside: %q", found)
	}
	if n := bytes.Count(svg, []byte("://")); n != 1 {
		t.Errorf("%d addresses, want that of the namespace only", n)
	}
	for d := xml.NewDecoder(bytes.NewReader(svg)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("it is not well-formed: %v", err)
		}
	}
}
