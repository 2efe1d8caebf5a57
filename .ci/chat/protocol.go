package main

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// event is one line of the chat's line protocol.
type event struct {
	kind   string   // what stands before the colon
	fields []string // what comes after it; quoted text without its quotes
}

// is reports whether the event is of the kind and begins with these fields.
func (e event) is(kind string, fields ...string) bool {
	return e.kind == kind && len(e.fields) >= len(fields) && slices.Equal(e.fields[:len(fields)], fields)
}

// form returns the fields of a kind of line: a word of what it may be, or one of
//
//	ID ADDRESS MSGID QUOTED SIZE SHA256
//
// and whether there is such a kind.
func form(kind string) (fields string, ok bool) {
	switch kind {
	case "ready", "end":
		return "", true
	case "id":
		return "ID", true
	case "address":
		return "ADDRESS", true
	case "request":
		return "ID QUOTED", true
	case "friend":
		return "ID added|online|offline|removed|refused", true
	case "message":
		return "ID MSGID live|offline QUOTED", true
	case "sent", "stored", "delivered":
		return "ID MSGID", true
	case "failed":
		return "ID MSGID expired|refused|cancelled", true
	case "file":
		return "ID QUOTED SIZE", true
	case "received", "filesent":
		return "ID QUOTED SIZE SHA256", true
	case "filefailed":
		return "ID QUOTED QUOTED", true
	case "friends":
		return "ID online|offline|pending QUOTED lan|direct|relay|none", true
	case "error":
		return "QUOTED", true
	}
	return "", false
}

// parse reads a line that the chat printed. A line that the protocol does not
// know is an error.
func parse(text string) (event, error) {
	kind, rest, colon := strings.Cut(text, ":")
	e := event{kind: kind}
	if kind == "help" && colon {
		return e, nil
	}
	want, known := form(kind)
	if !known || colon != (want != "") {
		return e, fmt.Errorf("no line of the protocol: %s", short(text))
	}
	for field := range strings.FieldsSeq(want) {
		var ok bool
		if rest, ok = strings.CutPrefix(rest, " "); !ok {
			return e, fmt.Errorf("a %q line ends before its %s: %s", kind, field, short(text))
		}
		value, length, err := take(field, rest)
		if err != nil {
			return e, fmt.Errorf("a %q line: %w: %s", kind, err, short(text))
		}
		e.fields, rest = append(e.fields, value), rest[length:]
	}
	if rest != "" {
		return e, fmt.Errorf("a %q line goes on after its end with %q: %s", kind, short(rest), short(text))
	}
	if kind == "error" {
		command, said, ok := strings.Cut(e.fields[0], ": ")
		if !ok || !strings.HasPrefix(command, "/") || said == "" {
			return e, fmt.Errorf("an error is not of the form /COMMAND: TEXT: %s", short(text))
		}
	}
	return e, nil
}

// take reads one field from the beginning of text, and says how long it was.
func take(field, text string) (value string, length int, err error) {
	if field == "QUOTED" {
		quoted, err := strconv.QuotedPrefix(text)
		if err != nil {
			return "", 0, fmt.Errorf("text is not quoted: %w", err)
		}
		value, err := strconv.Unquote(quoted)
		if err != nil {
			return "", 0, fmt.Errorf("text is not quoted: %w", err)
		}
		if strconv.Quote(value) != quoted {
			return "", 0, fmt.Errorf("text is not in the form of strconv.Quote: %s", short(quoted))
		}
		return value, len(quoted), nil
	}
	value, _, _ = strings.Cut(text, " ")
	var good bool
	switch field {
	case "ID", "ADDRESS":
		good = len(value) > 40 && strings.Trim(value, "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz") == ""
	case "MSGID":
		good = isHex(value, 16)
	case "SHA256":
		good = isHex(value, 32)
	case "SIZE":
		n, err := strconv.ParseUint(value, 10, 63)
		good = err == nil && strconv.FormatUint(n, 10) == value
	default:
		good = slices.Contains(strings.Split(field, "|"), value)
	}
	if !good {
		return "", 0, fmt.Errorf("%q is no %s", short(value), field)
	}
	return value, len(value), nil
}

func isHex(text string, bytes int) bool {
	b, err := hex.DecodeString(text)
	return err == nil && len(b) == bytes && hex.EncodeToString(b) == text
}

// short cuts a text for people to read, and quotes what they could not.
func short(text string) string {
	const most = 160
	cut := text
	if len(text) > most {
		cut = fmt.Sprintf("%s… (%d bytes)", text[:most], len(text))
	}
	if strings.ContainsFunc(cut, func(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }) {
		return strconv.Quote(cut)
	}
	return cut
}
