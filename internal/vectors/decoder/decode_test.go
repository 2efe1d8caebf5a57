package decoder

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strconv"
	"testing"
)

func recording(t testing.TB) *Recording {
	t.Helper()
	rec := &Recording{}
	readJSON(t, filepath.Join(vectorsDir, "link.json"), rec)
	if len(rec.Datagrams) == 0 || len(rec.Want) == 0 {
		t.Fatal("the recording holds nothing")
	}
	return rec
}

// decoded is the recording and what it says.
func decoded(t *testing.T) (*Recording, *Report) {
	t.Helper()
	rec := recording(t)
	r, err := Decode(rec)
	if err != nil {
		t.Fatal(err)
	}
	return rec, r
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func TestRecordingSays(t *testing.T) {
	rec, r := decoded(t)
	got := make(map[string]string)
	alice := byte(0)
	if string(r.IDs[0][:]) != string(rec.People[0].ID) {
		alice = 1
	}
	if len(r.Messages) != 1 || r.Messages[0].From != alice {
		t.Fatalf("messages: %v, want one of Alice's", r.Messages)
	}
	got["message"], got["message_id"] = string(r.Messages[0].Body), hex.EncodeToString(r.Messages[0].ID)
	for number, s := range r.Sessions {
		if s.Asker != alice {
			t.Errorf("session %d was asked for by Bob", number)
		}
		if s.Refused {
			got["refused"], got["refused_reason"] = s.Request.Service, s.Reason
			continue
		}
		got["service"], got["metadata"] = s.Request.Service, string(s.Request.Metadata)
		got["streams"] = strconv.FormatUint(s.Limit, 10)
		for id, stream := range s.Streams {
			if stream.Opener != alice || stream.Ended != [2]bool{true, true} {
				t.Errorf("stream %d: opener %d, ended %v", id, stream.Opener, stream.Ended)
			}
			got["stream_request"] = string(stream.Written[alice])
			got["stream_response_sha256"] = digest(stream.Written[1-alice])
		}
		for _, b := range s.Bulks {
			if b.Opener == alice || len(b.Written[alice]) != 0 {
				t.Errorf("lane %d is Alice's, or she wrote %d bytes to it", b.Lane, len(b.Written[alice]))
			}
			got["bulk_sha256"] = digest(b.Written[1-alice])
		}
		for id, f := range s.Flows {
			if f.Opener != alice || f.Closed[alice] == nil {
				t.Errorf("flow %d: opener %d, closed %v", id, f.Opener, f.Closed)
			}
			for i, d := range f.Sent[alice] {
				got[fmt.Sprintf("datagram_%d", i)] = string(d)
			}
		}
		if end := s.Ends[alice]; end == nil || end.Cause != 0 {
			t.Errorf("END of Alice's: %+v, want cause 0", end)
		}
	}
	if c := r.Link.Ends[alice].closed; c != nil {
		got["close_code"] = strconv.FormatUint(c.Code, 10)
	}
	if len(got) != len(rec.Want) {
		t.Errorf("%d things were said, want %d: %v", len(got), len(rec.Want), got)
	}
	for name, want := range rec.Want {
		if got[name] != want {
			t.Errorf("%s = %q, want %q", name, got[name], want)
		}
	}
}

// TestRecordingHasAll holds that no part of the decoder went unused.
func TestRecordingHasAll(t *testing.T) {
	rec, r := decoded(t)
	sum := 0
	for _, name := range []string{"krpc", "envelope", "stun", "handshake", "packet"} {
		if r.Counts[name] == 0 {
			t.Errorf("the recording has no %s", name)
		}
		sum += r.Counts[name]
	}
	if sum != len(rec.Datagrams) {
		t.Errorf("%d datagrams were told apart, of %d", sum, len(rec.Datagrams))
	}
	seen := make(map[string]int)
	for _, rec := range r.Records {
		seen[fmt.Sprintf("%s %d", rec.By, rec.Kind)]++
	}
	for _, want := range []string{
		"envelope 1", "envelope 5", "link 1", "link 2", "link 3", "link 4",
	} {
		if seen[want] == 0 {
			t.Errorf("no record that went as %q, only %v", want, seen)
		}
	}
	if string(r.Attempt) != string(r.Link.ID) || len(r.Attempt) != 8 {
		t.Errorf("attempt %x, link %x", r.Attempt, r.Link.ID)
	}
	for d, e := range r.Link.Ends {
		if e.packets == 0 || !r.Link.confirmed(byte(d)) {
			t.Errorf("direction %d: %d packets, or keys that were never confirmed", d, e.packets)
		}
		for lane, h := range e.lanes {
			if h.reset == nil && len(h.pending) > 0 || lane != 0 && !h.ended() && !h.stopped {
				t.Errorf("direction %d: lane %d has not ended", d, lane)
			}
		}
	}
}

// TestRecordingAgrees holds what the specification says of records over time.
func TestRecordingAgrees(t *testing.T) {
	rec, r := decoded(t)
	addresses := make(map[string]string)
	for _, p := range rec.People {
		addresses[string(p.ID)] = p.Address.String()
	}
	var hellos, states [2]uint64
	nonces := [2]map[uint64]bool{{0: true}, {0: true}}
	noted := false
	for i, x := range r.Records {
		switch v := x.Decoded.(type) {
		case *Hello:
			if v.Version <= hellos[x.From] {
				t.Errorf("record %d: version %d of a hello, behind %d", i, v.Version, hellos[x.From])
			}
			hellos[x.From] = v.Version
			nonces[x.From][v.Nonce] = true
			if !nonces[1-x.From][v.Echo] {
				t.Errorf("record %d: echo %d of no nonce", i, v.Echo)
			}
			if to := addresses[string(r.IDs[1-x.From][:])]; v.Observed != nil && v.Observed.String() != to {
				t.Errorf("record %d: hello for %v, sent to %s", i, v.Observed, to)
			}
		case *State:
			states[x.From] = max(states[x.From], v.Version)
			if v.Relation == 1 && v.Bond == 0 {
				t.Errorf("record %d: a friend without a bond", i)
			}
		case *Note:
			noted = noted || v.Receipt.Number == 1 && bytes.Equal(v.Receipt.Mark, r.Messages[0].ID[:8])
		}
	}
	if states[0] == 0 || states[1] == 0 || hellos[0] == 0 || hellos[1] == 0 {
		t.Errorf("states up to %v, hellos up to %v: want some of both", states, hellos)
	}
	if !noted {
		t.Error("no receipt of the message over the link")
	}
}

// TestCutRecordings leaves out the end of what says whose it is.
func TestCutRecordings(t *testing.T) {
	for name, spoil := range map[string]func(*Recording){
		"nobody":              func(r *Recording) { r.People = nil },
		"another seed":        func(r *Recording) { r.People[0].Seed = make(Hex, 32) },
		"no key log":          func(r *Recording) { r.Keylog = nil },
		"another secret":      func(r *Recording) { r.Keylog[1] = r.Keylog[1][:len(r.Keylog[1])-2] + "00" },
		"another prekey":      func(r *Recording) { r.People[1].Prekeys = nil },
		"no offers":           func(r *Recording) { r.Datagrams = r.Datagrams[len(r.Datagrams)/2:] },
		"a datagram too many": func(r *Recording) { r.Datagrams = append(r.Datagrams, RecordedDatagram{From: "Alice"}) },
		"from nobody":         func(r *Recording) { r.Datagrams[0].From = "Carol" },
	} {
		rec := recording(t)
		spoil(rec)
		if _, err := Decode(rec); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
