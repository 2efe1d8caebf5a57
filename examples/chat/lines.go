package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
)

// longLine says that a line was passed over since it is too long.
type longLine struct {
	command string
	limit   int
}

func (l *longLine) Error() string {
	return fmt.Sprintf("the line is longer than %d bytes; send it in parts, or as a file", l.limit)
}

// lines reads lines of a bounded length, with bounded memory whatever comes.
type lines struct {
	r     *bufio.Reader
	limit int
}

func newLines(r io.Reader, limit int) *lines {
	return &lines{bufio.NewReaderSize(r, limit+2), limit} // "\r\n" besides
}

// read returns the next line without its "\n" or "\r\n"; the last one may lack
// it. Its error is a *longLine, after which reading goes on, or the reader's.
func (l *lines) read() (string, error) {
	line, err := l.r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		long := &longLine{commandOf(string(line[:min(len(line), 64)])), l.limit}
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = l.r.ReadSlice('\n')
		}
		return "", long // an error of the reader comes again
	}
	if err != nil && len(line) == 0 {
		return "", err
	}
	text := strings.TrimSuffix(strings.TrimSuffix(string(line), "\n"), "\r")
	if len(text) > l.limit {
		return "", &longLine{commandOf(text[:min(len(text), 64)]), l.limit}
	}
	return text, nil
}
