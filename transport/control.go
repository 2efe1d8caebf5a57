package transport

import (
	"errors"
	"fmt"
	"io"

	"github.com/gocarrier/carrier/internal/reliable"
	"github.com/gocarrier/carrier/internal/wire"
)

const (
	// MaxControl is the longest body of a control message, in bytes.
	MaxControl = 128 << 10
	// maxControlQueue bounds what waits to be written to the control lane.
	maxControlQueue = 1 << 20
	// controlRead is how much of the control lane is read at once.
	controlRead = 4 << 10
	// Codes of CLOSE of the link itself: its control lane cannot be read, its
	// keys are used up, a newer link has replaced it.
	codeControl   = 0x10
	codeExhausted = 0x11
	codeReplaced  = 0x12
)

var errControlMessage = errors.New("control message malformed")

// message is one control message: kind (1) ‖ length (varint) ‖ body.
type message struct {
	kind uint8
	body []byte
}

// control frames messages on lane 0.
type control struct {
	lane  *reliable.Lane
	out   []byte // encoded and not yet taken by the lane
	in    []byte // read and not yet whole
	ready bool   // the lane may have something to read
}

// SendControl queues a message for the peer's handler: they arrive in order,
// each once, before bulk. [ErrControlFull]: 1 MiB waits already. The error of a
// link that has ended is its cause; what was queued before may be lost then.
func (l *Link) SendControl(kind uint8, body []byte) error {
	if len(body) > MaxControl {
		return fmt.Errorf("control message of %d bytes, at most %d", len(body), MaxControl)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return l.err
	}
	if len(l.control.out)+len(body) > maxControlQueue {
		return ErrControlFull
	}
	l.control.out = append(l.control.out, kind)
	l.control.out = wire.AppendVarint(l.control.out, uint64(len(body)))
	l.control.out = append(l.control.out, body...)
	l.rouse()
	return nil
}

// pump gives the lane what it takes.
func (c *control) pump() {
	if len(c.out) == 0 {
		return
	}
	n, err := c.lane.Write(c.out)
	if err != nil || n == len(c.out) {
		c.out = nil // an error is that of the link, which ends by itself
		return
	}
	c.out = c.out[n:]
}

// flushed reports whether all that was queued has arrived.
func (c *control) flushed() bool { return len(c.out) == 0 && c.lane.Flushed() }

// take reads messages that have come whole: all of them, or as many as one round
// takes, and then more is true.
func (c *control) take() (messages []message, more bool, err error) {
	bytes, rest := 0, c.in
	for {
		m, after, ok, err := parseMessage(rest)
		if err != nil {
			c.in, c.ready = nil, false
			return messages, false, err
		}
		if ok {
			rest, bytes, messages = after, bytes+len(m.body), append(messages, m)
			if len(messages) == maxNews || bytes >= maxNewsBytes {
				more = true
				break
			}
			continue
		}
		if !c.ready {
			break
		}
		c.in = append(c.in[:0], rest...)
		at := len(c.in)
		c.in = append(c.in, make([]byte, controlRead)...)
		n, err := c.lane.Read(c.in[at:])
		c.in = c.in[:at+n]
		rest, c.ready = c.in, n > 0 && err == nil
		if errors.Is(err, io.EOF) {
			return messages, false, fmt.Errorf("%w: the control lane has ended", errControlMessage)
		} // any other error is the link's, which says why itself
	}
	switch {
	case len(rest) == 0:
		c.in = nil // nothing is held by an idle link
	case len(rest) < len(c.in):
		c.in = append(c.in[:0], rest...)
	}
	return messages, more, nil
}

// parseMessage takes one message off the front of b; ok is false while it is
// not whole. The body is a copy.
func parseMessage(b []byte) (m message, rest []byte, ok bool, err error) {
	if len(b) < 2 {
		return m, b, false, nil
	}
	n, rest, err := wire.ParseVarint(b[1:])
	switch {
	case errors.Is(err, wire.ErrShort):
		return m, b, false, nil
	case err != nil:
		return m, nil, false, fmt.Errorf("%w: %w", errControlMessage, err)
	case n > MaxControl:
		return m, nil, false, fmt.Errorf("%w: %d bytes, at most %d", errControlMessage, n, MaxControl)
	case uint64(len(rest)) < n:
		return m, b, false, nil
	}
	m = message{kind: b[0], body: append([]byte(nil), rest[:n]...)}
	return m, rest[n:], true, nil
}
