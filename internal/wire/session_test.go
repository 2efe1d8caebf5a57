package wire

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// A sessionRefusal is a good message, and what stands in the place of one byte
// of it to be outside the limits, or not in the shortest form.
type sessionRefusal struct {
	what string
	m    SessionMessage
	at   int
	b    []byte
}

func (r *sessionRefusal) bytes() []byte {
	b := AppendSession(nil, r.m)
	return append(append(bytes.Clone(b[:r.at]), r.b...), b[r.at+1:]...)
}

func sessionRefusals() []sessionRefusal {
	request := SessionRequest{Session: 7, Lane: 12, Streams: 5, Service: "game", Metadata: []byte{1}}
	end := SessionEnd{Session: 7, Cause: SessionAborted, Code: 9, Reason: "why"}
	closed := SessionFlowClose{Session: 7, Flow: 1, Cause: FlowFinished, Sent: 3}
	return []sessionRefusal{
		{"session 0", request, 1, []byte{0}},
		{"lane 0", request, 2, []byte{0}},
		{"limit 0", request, 3, []byte{0}},
		{"limit 1,025", request, 3, []byte{0x44, 0x01}},
		{"limit in a long form", request, 3, []byte{0x40, 5}},
		{"service without a name", request, 4, []byte{0}},
		{"service of 256 bytes", request, 4, []byte{0x41, 0x00}},
		{"service not UTF-8", request, 5, []byte{0xff}},
		{"service with a control character", request, 5, []byte{'\n'}},
		{"metadata of 8,193 bytes", request, 9, []byte{0x60, 0x01}},
		{"limit 0 accepted", SessionAccept{Session: 7, Streams: 1}, 2, []byte{0}},
		{"reason of 256 bytes", SessionRefuse{Session: 7}, 2, []byte{0x41, 0x00}},
		{"reason not UTF-8", SessionRefuse{Session: 7, Reason: "x"}, 3, []byte{0xff}},
		{"unknown cause", end, 2, []byte{5}},
		{"code without an abort", end, 2, []byte{byte(SessionClosed)}},
		{"flow 0", closed, 2, []byte{0}},
		{"unknown cause of a flow", closed, 3, []byte{3}},
		{"datagrams on a refused flow", closed, 3, []byte{byte(FlowRefused)}},
		{"flow 0 opened", SessionFlowOpen{Session: 7, Flow: 1}, 2, []byte{0}},
		{"lane 0 for a stream", SessionBulk{Session: 7, Lane: 1}, 2, []byte{0}},
		{"lane 0 refused", SessionBulkRefuse{Session: 7, Lane: 1}, 2, []byte{0}},
	}
}

func TestSessionRefused(t *testing.T) {
	for _, c := range sessionRefusals() {
		if _, err := ParseSession(AppendSession(nil, c.m)); err != nil {
			t.Errorf("%s: refused before the change: %v", c.what, err)
		}
		if m, err := ParseSession(c.bytes()); !errors.Is(err, ErrValue) {
			t.Errorf("%s: got %+v, %v, want ErrValue", c.what, m, err)
		}
	}
	for _, kind := range []byte{0, byte(SessionBulkRefuseKind) + 1, 255} {
		if m, err := ParseSession([]byte{kind, 7, 1}); m != nil || !errors.Is(err, ErrKind) {
			t.Errorf("kind %d: got %+v, %v, want ErrKind", kind, m, err)
		}
	}
}

// TestSessionAppendRefuses: what cannot be written is a fault of the program.
func TestSessionAppendRefuses(t *testing.T) {
	for name, m := range map[string]SessionMessage{
		"service of 256 bytes":    SessionRequest{Service: strings.Repeat("s", 256)},
		"metadata of 8,193 bytes": SessionRequest{Metadata: make([]byte, MaxMetadata+1)},
		"reason of 256 bytes":     SessionRefuse{Reason: strings.Repeat("r", 256)},
		"code of 63 bits":         SessionEnd{Code: MaxVarint + 1},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: written", name)
				}
			}()
			AppendSession(nil, m)
		}()
	}
}
