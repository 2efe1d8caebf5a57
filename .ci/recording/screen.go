package main

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// style is how a cell looks.
type style struct {
	color   int // 0-15; -1: the terminal's own
	bold    bool
	dim     bool
	reverse bool
}

var plain = style{color: -1}

// cell is one place of the screen.
type cell struct {
	r rune
	style
}

// line is a row of the screen, without the blanks at its end.
type line []cell

// text is what the row says.
func (l line) text() string {
	var b strings.Builder
	for _, c := range l {
		b.WriteRune(c.r)
	}
	return b.String()
}

// parseLine reads a row as tmux captures it: characters between SGR sequences.
// now is the style at its begin; it returns the one at its end.
func parseLine(s string, now style) (line, style) {
	var l line
	for s != "" {
		if rest, ok := strings.CutPrefix(s, "\x1b["); ok {
			end := strings.IndexFunc(rest, func(r rune) bool { return r >= '@' && r <= '~' })
			if end < 0 {
				break
			}
			if rest[end] == 'm' {
				now = now.apply(rest[:end])
			}
			s = rest[end+1:]
			continue
		}
		if s[0] < ' ' { // shift in and out
			s = s[1:]
			continue
		}
		r, size := utf8.DecodeRuneInString(s)
		l = append(l, cell{r, now})
		s = s[size:]
	}
	for len(l) > 0 && l[len(l)-1].r == ' ' && !l[len(l)-1].reverse {
		l = l[:len(l)-1]
	}
	return l, now
}

// apply takes the parameters of an SGR sequence.
func (s style) apply(parameters string) style {
	for p := range strings.SplitSeq(parameters, ";") {
		n, err := strconv.Atoi(p)
		if err != nil && p != "" {
			return s // a form that nobody here writes
		}
		switch {
		case n == 0:
			s = plain
		case n == 1:
			s.bold = true
		case n == 2:
			s.dim = true
		case n == 7:
			s.reverse = true
		case n == 22:
			s.bold, s.dim = false, false
		case n == 27:
			s.reverse = false
		case n >= 30 && n <= 37:
			s.color = n - 30
		case n == 39:
			s.color = -1
		case n >= 90 && n <= 97:
			s.color = n - 90 + 8
		}
	}
	return s
}

// mark shows the cursor at a column.
func (l line) mark(column int) line {
	for len(l) <= column {
		l = append(l, cell{' ', plain})
	}
	l[column].reverse = true
	return l
}
