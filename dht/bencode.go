package dht

import (
	"errors"
	"strconv"
)

// maxDepth is how deep lists and dictionaries of a datagram may be nested.
const maxDepth = 8

var errBencode = errors.New("malformed bencode")

// bencodeEnd returns the length of the first bencoded value in b. It takes only
// canonical numbers (no leading zeros, no -0), so that a value that passes has
// one encoding, and keys that are strings, in any order.
func bencodeEnd(b []byte, depth int) (int, error) {
	if len(b) == 0 || depth > maxDepth {
		return 0, errBencode
	}
	switch c := b[0]; {
	case c == 'i':
		_, n, err := bencodeInt(b)
		return n, err
	case c >= '0' && c <= '9':
		_, n, err := bencodeString(b)
		return n, err
	case c == 'l' || c == 'd':
		i := 1
		for {
			if i >= len(b) {
				return 0, errBencode
			}
			if b[i] == 'e' {
				return i + 1, nil
			}
			if c == 'd' {
				_, n, err := bencodeString(b[i:])
				if err != nil {
					return 0, err
				}
				i += n
			}
			n, err := bencodeEnd(b[i:], depth+1)
			if err != nil {
				return 0, err
			}
			i += n
		}
	default:
		return 0, errBencode
	}
}

// bencodeString reads a string at the start of b: its content and the length of
// its encoding. The content shares b.
func bencodeString(b []byte) (content []byte, n int, err error) {
	size := 0
	for i, c := range b {
		switch {
		case c >= '0' && c <= '9' && i < 6 && (i == 0 || b[0] != '0'):
			size = size*10 + int(c-'0')
		case c == ':' && i > 0 && size <= len(b)-i-1:
			return b[i+1 : i+1+size], i + 1 + size, nil
		default:
			return nil, 0, errBencode
		}
	}
	return nil, 0, errBencode
}

// bencodeInt reads an integer at the start of b: its value and the length of its
// encoding.
func bencodeInt(b []byte) (value int64, n int, err error) {
	if len(b) < 3 || b[0] != 'i' {
		return 0, 0, errBencode
	}
	for i := 1; i < len(b) && i < 24; i++ {
		if b[i] != 'e' {
			continue
		}
		value, err := strconv.ParseInt(string(b[1:i]), 10, 64)
		if err != nil || strconv.FormatInt(value, 10) != string(b[1:i]) {
			return 0, 0, errBencode
		}
		return value, i + 1, nil
	}
	return 0, 0, errBencode
}

// bencodeDict calls each for every key of the dictionary that b is, with the
// encoded value, until each returns an error. b must be exactly one dictionary.
func bencodeDict(b []byte, each func(key string, value []byte) error) error {
	if len(b) < 2 || b[0] != 'd' || b[len(b)-1] != 'e' {
		return errBencode
	}
	for i := 1; i < len(b)-1; {
		key, n, err := bencodeString(b[i:])
		if err != nil {
			return err
		}
		i += n
		n, err = bencodeEnd(b[i:], 1)
		if err != nil {
			return err
		}
		if i+n > len(b)-1 {
			return errBencode
		}
		if err := each(string(key), b[i:i+n]); err != nil {
			return err
		}
		i += n
	}
	return nil
}

// bencodeList calls each for every encoded value of the list that b is, until
// each returns an error. b must be exactly one list.
func bencodeList(b []byte, each func(value []byte) error) error {
	if len(b) < 2 || b[0] != 'l' || b[len(b)-1] != 'e' {
		return errBencode
	}
	for i := 1; i < len(b)-1; {
		n, err := bencodeEnd(b[i:], 1)
		if err != nil {
			return err
		}
		if i+n > len(b)-1 {
			return errBencode
		}
		if err := each(b[i : i+n]); err != nil {
			return err
		}
		i += n
	}
	return nil
}

// wholeString returns the content of b, which must be exactly one string.
func wholeString(b []byte) ([]byte, error) {
	content, n, err := bencodeString(b)
	if err != nil || n != len(b) {
		return nil, errBencode
	}
	return content, nil
}

// wholeInt returns the value of b, which must be exactly one integer.
func wholeInt(b []byte) (int64, error) {
	value, n, err := bencodeInt(b)
	if err != nil || n != len(b) {
		return 0, errBencode
	}
	return value, nil
}

func appendString[T []byte | string](b []byte, s T) []byte {
	b = strconv.AppendInt(b, int64(len(s)), 10)
	b = append(b, ':')
	return append(b, s...)
}

func appendInt(b []byte, v int64) []byte {
	b = append(b, 'i')
	b = strconv.AppendInt(b, v, 10)
	return append(b, 'e')
}
