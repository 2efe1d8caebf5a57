package decoder

import (
	"strings"
	"testing"
)

// asked is a link on whose lane 1 the lower ID has opened a session.
func asked(t *testing.T) (*Link, []said) {
	t.Helper()
	l := NewLink(nil, &Schedule{Suite: suiteAES, Master: make([]byte, 32)})
	nop := Hex{2, 3, 0, 0, 0, 0, 0, 0}
	if err := l.Ends[0].half(1).add(&Data{Lane: 1, Data: nop}); err != nil {
		t.Fatal(err)
	}
	return l, []said{{0, &Ask{MessageHead: head(1), Lane: 1, Streams: 16, Service: "x"}}}
}

func head(session uint64) MessageHead { return MessageHead{Session: session} }

func TestSessions(t *testing.T) {
	l, messages := asked(t)
	l.Datagrams = []sentDatagram{{1, Datagram{Session: 1, Flow: 1, Data: Hex("d")}}}
	if err := l.Ends[1].half(2).add(&Data{Lane: 2, Data: Hex("\x00bulk"), Fin: true}); err != nil {
		t.Fatal(err)
	}
	sessions, err := l.sessions(append(
		messages,
		said{1, &Accept{MessageHead: head(1), Streams: 8}},
		said{0, &FlowOpen{MessageHead: head(1), Flow: 1}},
		said{1, &FlowClose{MessageHead: head(1), Flow: 1, Sent: 1}},
		said{1, &Bulk{MessageHead: head(1), Lane: 2}},
	))
	if err != nil {
		t.Fatal(err)
	}
	s := sessions[1]
	if s.Limit != 8 || s.Refused || len(s.Flows[1].Sent[1]) != 1 || string(s.Bulks[0].Written[1]) != "bulk" {
		t.Errorf("got %+v", s)
	}
}

// TestFaultsOfSessions says what no honest node says.
func TestFaultsOfSessions(t *testing.T) {
	accept := said{1, &Accept{MessageHead: head(1), Streams: 8}}
	for want, spoil := range map[string]func(l *Link, m []said) []said{
		"neither accepted": func(_ *Link, m []said) []said { return m },
		"never was":        func(_ *Link, m []said) []said { return append(m, said{1, &Accept{MessageHead: head(3), Streams: 1}}) },
		"ACCEPT": func(_ *Link, m []said) []said {
			return append(m, said{1, &Accept{MessageHead: head(1), Streams: 17}})
		},
		"REFUSE": func(_ *Link, m []said) []said { return append(m, accept, said{1, &Refuse{MessageHead: head(1)}}) },
		"REQUEST of session 2": func(_ *Link, m []said) []said {
			return append(m, accept, said{0, &Ask{MessageHead: head(2), Lane: 3}})
		},
		"REQUEST of session 1": func(_ *Link, m []said) []said { return append(m, accept, m[0]) },
		"FLOW_OPEN of flow 2": func(_ *Link, m []said) []said {
			return append(m, accept, said{0, &FlowOpen{MessageHead: head(1), Flow: 2}})
		},
		"FLOW_OPEN of flow 1": func(_ *Link, m []said) []said {
			return append(m, accept, said{0, &FlowOpen{MessageHead: head(1), Flow: 3}}, said{0, &FlowOpen{MessageHead: head(1), Flow: 1}})
		},
		"FLOW_CLOSE": func(_ *Link, m []said) []said {
			return append(m, accept, said{0, &FlowClose{MessageHead: head(1), Flow: 1}})
		},
		"1 said": func(_ *Link, m []said) []said {
			return append(m, accept, said{0, &FlowOpen{MessageHead: head(1), Flow: 1}}, said{0, &FlowClose{MessageHead: head(1), Flow: 1, Sent: 1}})
		},
		"BULK": func(_ *Link, m []said) []said {
			return append(m, accept, said{0, &Bulk{MessageHead: head(1), Lane: 2}})
		},
		"does not begin with 0": func(_ *Link, m []said) []said {
			return append(m, accept, said{1, &Bulk{MessageHead: head(1), Lane: 2}})
		},
		"DATAGRAM": func(l *Link, m []said) []said {
			l.Datagrams = []sentDatagram{{0, Datagram{Session: 1, Flow: 1}}}
			return append(m, accept)
		},
		"belongs to nothing": func(l *Link, m []said) []said {
			l.Ends[0].half(7)
			return append(m, accept)
		},
		"has a gap": func(l *Link, m []said) []said {
			l.Ends[1].half(0).pending = []Data{{Offset: 5}}
			return append(m, accept)
		},
		"opened by NOP": func(l *Link, m []said) []said {
			l.Ends[0].lanes[1] = &half{}
			return append(m, accept)
		},
	} {
		l, messages := asked(t)
		if _, err := l.sessions(spoil(l, messages)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want a fault with %q", err, want)
		}
	}
}
