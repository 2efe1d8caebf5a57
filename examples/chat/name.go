package main

import (
	"path/filepath"
	"strings"
	"unicode"
)

const (
	maxName   = 200 // bytes, so that a number has room within the 255 of most systems
	maxEnding = 20  // of them for what stands behind the last dot
)

// cleanName makes a name for a file out of a friend's: one that stays in its
// directory, is not hidden, can be typed and shown, means no device, and is a
// name on every system. It is never empty, and cleaning it again changes nothing.
func cleanName(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case strings.ContainsRune(`/\:*?"<>|`, r), r == unicode.ReplacementChar:
			return '_'
		case unicode.IsSpace(r) && !unicode.IsControl(r):
			return ' '
		case !unicode.IsPrint(r): // control characters, marks of direction
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "_"))
	for { // each step may uncover work for another; all of them shorten, but for one "_"
		was := s
		s = strings.TrimRight(strings.TrimLeft(s, ". "), ". ")
		if s == "" {
			return "file"
		}
		if s[0] == '-' || s[0] == '~' || isDevice(s) { // "-" would be an option to who types "*"
			s = "_" + s
		}
		if len(s) > maxName {
			ending := filepath.Ext(s)
			if len(ending) > maxEnding {
				ending = ""
			}
			s = cut(s[:len(s)-len(ending)], maxName-len(ending)) + ending
		}
		if s == was {
			return s
		}
	}
}

// isDevice reports whether Windows takes a name for a device, whatever stands
// behind its first dot.
func isDevice(name string) bool {
	stem, _, _ := strings.Cut(name, ".")
	stem = strings.ToUpper(strings.TrimRight(stem, " "))
	switch stem {
	case "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$", "CLOCK$":
		return true
	}
	for _, port := range []string{"COM", "LPT"} {
		if number, ok := strings.CutPrefix(stem, port); ok && strings.Contains("0123456789¹²³", number) && len([]rune(number)) == 1 {
			return true
		}
	}
	return false
}
