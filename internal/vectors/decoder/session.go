package decoder

import (
	"errors"
	"fmt"
)

// Session is one that was asked for over a link. Indices are directions.
type Session struct {
	Asker   byte
	Request *Ask
	Limit   uint64 // 0 if it was refused
	Reason  string // of a refusal
	Refused bool
	Ends    [2]*End
	Streams map[uint32]*Stream
	Bulks   []*BulkStream
	Flows   map[uint64]*Flow
	flow    [2]uint64 // the last one that each end has opened
}

// BulkStream is a stream with a lane of its own.
type BulkStream struct {
	Lane    uint64
	Opener  byte
	Written [2][]byte
}

// Flow is a datagram stream.
type Flow struct {
	Opener byte
	Sent   [2][]Hex
	Closed [2]*FlowClose // the last one of each end
}

// said is a message of sessions and who said it.
type said struct {
	from    byte
	message any
}

// parity reports whether a number is one that an end may give: odd at the lower ID.
func parity(number uint64, end byte) bool { return number&1 == uint64(1-end) }

// sessions reads all that was said of sessions over the link, when all of it has come.
func (l *Link) sessions(messages []said) (map[uint64]*Session, error) {
	sessions := make(map[uint64]*Session)
	var last [2]uint64
	for _, m := range messages {
		ask, ok := m.message.(*Ask)
		if !ok {
			continue
		}
		if ask.Session <= last[m.from] || !parity(ask.Session, m.from) || !parity(ask.Lane, m.from) {
			return nil, fmt.Errorf("REQUEST of session %d on lane %d, out of order or of the wrong parity", ask.Session, ask.Lane)
		}
		last[m.from] = ask.Session
		sessions[ask.Session] = &Session{Asker: m.from, Request: ask, Flows: make(map[uint64]*Flow)}
	}
	for _, m := range messages {
		if err := sessionMessage(sessions, m); err != nil {
			return nil, err
		}
	}
	for number, s := range sessions {
		if err := l.lanesOf(s); err != nil {
			return nil, fmt.Errorf("session %d: %w", number, err)
		}
	}
	for _, d := range l.Datagrams {
		s := sessions[d.Session]
		if s == nil || s.Flows[d.Flow] == nil {
			return nil, fmt.Errorf("DATAGRAM of flow %d of session %d, which never was", d.Flow, d.Session)
		}
		f := s.Flows[d.Flow]
		f.Sent[d.from] = append(f.Sent[d.from], d.Data)
	}
	if err := flowCloses(sessions, messages); err != nil {
		return nil, err
	}
	return sessions, l.belong(sessions)
}

// sessionMessage takes any message but REQUEST and FLOW_CLOSE.
func sessionMessage(sessions map[uint64]*Session, m said) error {
	find := func(number uint64) (*Session, error) {
		if s := sessions[number]; s != nil {
			return s, nil
		}
		return nil, fmt.Errorf("message of session %d, which never was", number)
	}
	switch v := m.message.(type) {
	case *Accept:
		s, err := find(v.Session)
		if err != nil {
			return err
		}
		if m.from == s.Asker || s.Limit > 0 || s.Refused || v.Streams > s.Request.Streams {
			return fmt.Errorf("ACCEPT of session %d that does not fit", v.Session)
		}
		s.Limit = v.Streams
	case *Refuse:
		s, err := find(v.Session)
		if err != nil {
			return err
		}
		if m.from == s.Asker || s.Limit > 0 || s.Refused {
			return fmt.Errorf("REFUSE of session %d that does not fit", v.Session)
		}
		s.Refused, s.Reason = true, v.Reason
	case *End:
		s, err := find(v.Session)
		if err != nil {
			return err
		}
		s.Ends[m.from] = v
	case *FlowOpen:
		s, err := find(v.Session)
		if err != nil {
			return err
		}
		if v.Flow <= s.flow[m.from] || !parity(v.Flow, m.from) {
			return fmt.Errorf("FLOW_OPEN of flow %d, out of order or of the wrong parity", v.Flow)
		}
		s.flow[m.from] = v.Flow
		s.Flows[v.Flow] = &Flow{Opener: m.from}
	case *Bulk:
		s, err := find(v.Session)
		if err != nil {
			return err
		}
		if v.Message == messageBulkRefuse {
			return nil
		}
		if !parity(v.Lane, m.from) {
			return fmt.Errorf("BULK of lane %d, which is not its sender's", v.Lane)
		}
		s.Bulks = append(s.Bulks, &BulkStream{Lane: v.Lane, Opener: m.from})
	}
	return nil
}

// flowCloses takes each FLOW_CLOSE, when all flows and their datagrams are known.
func flowCloses(sessions map[uint64]*Session, messages []said) error {
	for _, m := range messages {
		v, ok := m.message.(*FlowClose)
		if !ok {
			continue
		}
		s := sessions[v.Session]
		if s == nil || s.Flows[v.Flow] == nil {
			return fmt.Errorf("FLOW_CLOSE of flow %d of session %d, which never was", v.Flow, v.Session)
		}
		f := s.Flows[v.Flow]
		f.Closed[m.from] = v
		if sent := uint64(len(f.Sent[m.from])); v.Cause != 2 && v.Sent != sent {
			return fmt.Errorf("flow %d: %d datagrams sent, %d said", v.Flow, sent, v.Sent)
		}
	}
	return nil
}

// lanesOf reads what the lanes of a session carried.
func (l *Link) lanesOf(s *Session) error {
	var frames [2][]smuxFrame
	for d, e := range l.Ends {
		h := e.half(s.Request.Lane)
		var err error
		if frames[d], err = readSmux(h.bytes, !h.whole()); err != nil {
			return fmt.Errorf("its lane: %w", err)
		}
	}
	if s.Refused != (s.Limit == 0) {
		return errors.New("neither accepted nor refused")
	}
	if first := frames[s.Asker]; len(first) == 0 || first[0].command != smuxNop {
		return errors.New("its lane was not opened by NOP")
	}
	var err error
	if s.Streams, err = readStreams(frames, s.Asker); err != nil {
		return err
	}
	for _, b := range s.Bulks {
		for d, e := range l.Ends {
			b.Written[d] = e.half(b.Lane).bytes
		}
		first := b.Written[b.Opener]
		if len(first) == 0 || first[0] != 0 {
			return fmt.Errorf("lane %d of a stream does not begin with 0", b.Lane)
		}
		b.Written[b.Opener] = first[1:]
	}
	return nil
}

// belong checks that each lane belongs to a session, and that none has bytes behind a gap.
func (l *Link) belong(sessions map[uint64]*Session) error {
	owned := map[uint64]bool{0: true}
	for _, s := range sessions {
		owned[s.Request.Lane] = true
		for _, b := range s.Bulks {
			owned[b.Lane] = true
		}
	}
	for _, e := range l.Ends {
		for lane, h := range e.lanes {
			if !owned[lane] {
				return fmt.Errorf("lane %d belongs to nothing", lane)
			}
			if h.reset == nil && len(h.pending) > 0 {
				return fmt.Errorf("lane %d has a gap at %d", lane, len(h.bytes))
			}
		}
	}
	return nil
}
