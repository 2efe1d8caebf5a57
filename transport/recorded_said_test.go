package transport

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/wire"
)

// controlMessages reads a control lane: records and messages of sessions.
func (e *recordedEnd) controlMessages(t *testing.T, to *recordedEnd) (mail []*wire.Mail, sessions []wire.SessionMessage) {
	t.Helper()
	rest := e.lanes[0].b
	for len(rest) > 0 {
		m, after, ok, err := parseMessage(rest)
		if err != nil || !ok {
			t.Fatalf("control lane of %s: whole %v, %v", e.ID(), ok, err)
		}
		rest = after
		switch m.kind {
		case 1:
			kind, body, err := wire.ParseLinkRecord(m.body)
			if err != nil {
				t.Fatal(err)
			}
			if kind == wire.KindMail {
				mail = append(mail, e.openMail(t, to, body))
				continue
			}
			e.takeRecord(t, to, kind, body)
		case 2:
			s, err := wire.ParseSession(m.body)
			if err != nil {
				t.Fatal(err)
			}
			sessions = append(sessions, s)
		default:
			t.Errorf("control message of kind %d", m.kind)
		}
	}
	return mail, sessions
}

// openMail opens mail with the reader's prekey.
func (e *recordedEnd) openMail(t *testing.T, to *recordedEnd, body []byte) *wire.Mail {
	t.Helper()
	number, sealed, err := wire.ParseMailBody(body)
	if err != nil {
		t.Fatal(err)
	}
	from, reader := e.ID(), to.ID()
	info := bytes.Join([][]byte{[]byte("carrier/1 mail"), from[:], reader[:], binary.BigEndian.AppendUint64(nil, number)}, nil)
	plain, err := to.prekeys[number].Open(info, nil, sealed)
	if err != nil {
		t.Fatal(err)
	}
	signature, record, err := wire.ParseSigned(plain)
	if err != nil {
		t.Fatal(err)
	}
	m, err := wire.ParseMail(record)
	if err != nil {
		t.Fatal(err)
	}
	signed := crypto.Transcript{
		Type: "mail", From: from, To: reader, Incarnation: m.Sequence.Incarnation, Version: m.Generation, Body: record,
	}
	if !signed.Verify(signature) {
		t.Error("the signature of mail does not verify")
	}
	return m
}

// smuxStreams takes the frames of a session's lane apart.
func smuxStreams(t *testing.T, b []byte) (streams map[uint32][]byte, ended map[uint32]bool) {
	t.Helper()
	streams, ended = map[uint32][]byte{}, map[uint32]bool{}
	for len(b) > 0 {
		length, stream := int(binary.LittleEndian.Uint16(b[2:])), binary.LittleEndian.Uint32(b[4:])
		if b[0] != 2 {
			t.Fatalf("smux of version %d", b[0])
		}
		switch data := b[8 : 8+length]; b[1] {
		case 0:
			streams[stream] = nil
		case 1:
			ended[stream] = true
		case 2:
			streams[stream] = append(streams[stream], data...)
		}
		b = b[8+length:]
	}
	return streams, ended
}

// checkSaid holds what was found in a recording against what was said.
func checkSaid(t *testing.T, want map[string]string, alice, bob *recordedEnd) {
	t.Helper()
	got := map[string]string{"close_code": fmt.Sprint(alice.closed.Code)}
	mail, asked := alice.controlMessages(t, bob)
	for _, m := range mail {
		for _, item := range m.Items {
			got["message"], got["message_id"] = string(item.Body), fmt.Sprintf("%x", item.ID[:])
		}
	}
	_, answered := bob.controlMessages(t, alice)
	sum := func(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b)) }
	accepted := map[uint64]bool{}
	for _, m := range answered {
		switch m := m.(type) {
		case wire.SessionRefuse:
			got["refused_reason"] = m.Reason
		case wire.SessionAccept:
			accepted[m.Session] = true
			got["streams"] = fmt.Sprint(m.Streams)
		case wire.SessionBulk:
			film := bob.lanes[m.Lane].b
			if film[0] != 0 {
				t.Errorf("the lane of a stream begins with %d", film[0])
			}
			got["bulk_sha256"] = sum(film[1:])
		}
	}
	for _, m := range asked {
		switch m := m.(type) {
		case wire.SessionRequest:
			if !accepted[m.Session] {
				got["refused"] = m.Service
				continue
			}
			got["service"], got["metadata"] = m.Service, string(m.Metadata)
			request, ended := smuxStreams(t, alice.lanes[m.Lane].b)
			response, over := smuxStreams(t, bob.lanes[m.Lane].b)
			if !ended[3] || !over[3] {
				t.Errorf("the streams that have ended are %v and %v, want 3", ended, over)
			}
			got["stream_request"], got["stream_response_sha256"] = string(request[3]), sum(response[3])
		case wire.SessionFlowOpen:
			for i, d := range alice.flows {
				if d.Session == m.Session && d.Flow == m.Flow {
					got[fmt.Sprint("datagram_", i)] = string(d.Data)
				}
			}
		}
	}
	for what, said := range want {
		if got[what] != said {
			t.Errorf("%s: got %q, want %q", what, got[what], said)
		}
	}
	for what := range got {
		if want[what] == "" {
			t.Errorf("%s is not told by the recording", what)
		}
	}
}
