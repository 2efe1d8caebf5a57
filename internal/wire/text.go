package wire

import (
	"fmt"
	"unicode"
	"unicode/utf8"
)

// CheckName returns nil if s can be a person's name: at most [MaxName] bytes
// of UTF-8 without control characters. Else the error matches [ErrValue].
func CheckName(s string) error { return checkText("name", s, MaxName, false) }

// CheckDescription returns nil if s can be a person's description: at most
// [MaxDescr] bytes of UTF-8, without control characters other than newline
// and tab. Else the error matches [ErrValue].
func CheckDescription(s string) error { return checkText("description", s, MaxDescr, true) }

// CheckHello returns nil if s can be the text of a friend request: at most
// [MaxHello] bytes of UTF-8, without control characters other than newline
// and tab. Else the error matches [ErrValue].
func CheckHello(s string) error { return checkText("hello", s, MaxHello, true) }

func checkText(what, s string, limit int, lines bool) error {
	if len(s) > limit {
		return fmt.Errorf("%w: %s has %d bytes, at most %d", ErrValue, what, len(s), limit)
	}
	if !utf8.ValidString(s) {
		return fmt.Errorf("%w: %s is not UTF-8", ErrValue, what)
	}
	for _, c := range s {
		if unicode.IsControl(c) && (!lines || c != '\n' && c != '\t') {
			return fmt.Errorf("%w: %s has a control character", ErrValue, what)
		}
	}
	return nil
}

// text reads n bytes of UTF-8.
func (r *Reader) text(n int) string {
	b := r.take(n)
	r.check(utf8.Valid(b), "text is not UTF-8")
	if r.err != nil {
		return ""
	}
	return string(b)
}

// checked reads nothing more: it makes a fault of a text that check refuses.
func (r *Reader) checked(s string, check func(string) error) string {
	if r.err == nil {
		r.err = check(s)
	}
	return s
}
