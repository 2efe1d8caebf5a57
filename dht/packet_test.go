package dht

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/anacrolix/dht/v2/krpc"
	"github.com/anacrolix/torrent/bencode"
)

// Real messages, as the implementations in the field write them.
const (
	id20      = "abcdefghij0123456789"
	ping      = "d1:ad2:id20:" + id20 + "e1:q4:ping1:t2:aa1:y1:qe"
	findNode  = "d1:ad2:id20:" + id20 + "6:target20:mnopqrstuvwxyz123456e1:q9:find_node1:t2:aa1:y1:qe"
	getPeers  = "d1:ad2:id20:" + id20 + "9:info_hash20:mnopqrstuvwxyz1234564:wantl2:n42:n6ee1:q9:get_peers1:t2:aa1:v4:LT\x01\x021:y1:qe"
	announce  = "d1:ad2:id20:" + id20 + "12:implied_porti1e9:info_hash20:mnopqrstuvwxyz1234564:porti6881e5:token8:aoeusnthe1:q13:announce_peer1:t2:aa1:y1:qe"
	pong      = "d2:ip6:\x7f\x00\x00\x01\x1a\xe11:rd2:id20:mnopqrstuvwxyz123456e1:t2:aa1:y1:re"
	errorList = "d1:eli201e24:A Generic Error occurrede1:t2:aa1:y1:ee"
	errorText = "d1:e4:oops1:t2:aa1:y1:ee"
)

func goldenAnswer() []byte {
	node := strings.Repeat("n", 20) + "\x50\x00\x00\x01\x1a\xe1"
	return []byte("d2:ip6:\x50\x00\x00\x02\x1a\xe11:rd2:id20:" + id20 + "1:k32:" + strings.Repeat("k", 32) +
		"5:nodes208:" + strings.Repeat(node, 8) + "3:seqi7e3:sig64:" + strings.Repeat("s", 64) +
		"5:token4:tokn1:v5:hello6:valuesl6:\x50\x00\x00\x03\x1a\xe1ee1:t5:\x01tagg1:y1:re")
}

// killers are datagrams that kill or poison a process that lets the library
// decode them, with the counter under which each is dropped.
var killers = []struct{ name, packet, counter string }{
	{"put without a", "d1:q3:put1:t2:aa1:y1:qe", "query_without_arguments"},
	{"announce_peer without a", "d1:q13:announce_peer1:t2:aa1:y1:qe", "query_without_arguments"},
	{"a is a list", "d1:ale1:q3:put1:t2:aa1:y1:qe", "query_without_arguments"},
	{"a is a list of a dict", "d1:ald2:id20:" + id20 + "ee1:q4:ping1:t2:aa1:y1:qe", "query_without_arguments"},
	{"length beyond the end", "d1:rd2:id99999999999:xe1:t2:aa1:y1:re", "packet_malformed"},
	{"length that allocates", "d1:rd2:id99999:xe1:t2:aa1:y1:re", "packet_malformed"},
	{"nested lists", "d1:rd1:x" + strings.Repeat("l", 1000) + strings.Repeat("e", 1000) + "e1:t2:aa1:y1:re", "packet_malformed"},
	{"half a packet", ping[:40], "packet_malformed"},
	{"no ID", "d1:ade1:q4:ping1:t2:aa1:y1:qe", "packet_bad_id"},
	{"short ID", "d1:rd2:id3:abce1:t2:aa1:y1:re", "packet_bad_id"},
	{"short nodes", "d1:rd2:id20:" + id20 + "5:nodes3:abce1:t2:aa1:y1:re", "packet_bad_field"},
	{"key of 2 bytes", "d1:rd2:id20:" + id20 + "1:k2:ab1:v1:xe1:t2:aa1:y1:re", "packet_bad_field"},
	{"seq a string", "d1:rd2:id20:" + id20 + "3:seq1:xe1:t2:aa1:y1:re", "packet_bad_field"},
	{"value of 2000 bytes", "d1:rd2:id20:" + id20 + "1:v2000:" + strings.Repeat("v", 2000) + "e1:t2:aa1:y1:re", "packet_bad_field"},
	{"huge integer", "d1:rd2:id20:" + id20 + "3:seqi99999999999999999999999999ee1:t2:aa1:y1:re", "packet_malformed"},
	{"no transaction", "d1:rd2:id20:" + id20 + "e1:y1:re", "packet_malformed"},
	{"kind unknown", "d1:t2:aa1:y1:xe", "packet_malformed"},
	{"too long", "d1:rd2:id20:" + id20 + "5:nodes5200:" + strings.Repeat("n", 5200) + "e1:t2:aa1:y1:re", "packet_too_long"},
	{"not KRPC", "hello", "packet_not_krpc"},
	{"answer to nothing", pong, "answer_unasked"},
	{"ip of one byte", "d2:ip1:x1:rd2:id20:" + id20 + "e1:t2:aa1:y1:re", "answer_unasked"},
	{"values entry of one byte", "d1:rd2:id20:" + id20 + "6:valuesl1:xee1:t2:aa1:y1:re", "answer_unasked"},
}

func TestParseQueries(t *testing.T) {
	m, err := parseMessage([]byte(announce))
	if err != nil {
		t.Fatal(err)
	}
	if m.kind != 'q' || m.method != "announce_peer" || string(m.t) != "aa" || string(m.args.id[:]) != id20 ||
		!m.args.implied || m.args.port != 6881 || string(m.args.token) != "aoeusnth" || !m.args.hasTarget {
		t.Errorf("announce_peer parsed as %+v", m)
	}
	m, err = parseMessage([]byte(getPeers))
	if err != nil || !m.args.want4 || !m.args.want6 {
		t.Errorf("get_peers parsed as %+v, %v", m, err)
	}
	if m, err = parseMessage([]byte(ping + "trailing")); err != nil || m.method != "ping" {
		t.Errorf("ping with trailing bytes parsed as %+v, %v", m, err)
	}
}

func TestParseAnswers(t *testing.T) {
	golden := goldenAnswer()
	m, err := parseMessage(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got := m.canonical(m.t); !bytes.Equal(got, golden) {
		t.Errorf("the canonical form of the golden answer is\n%q, want\n%q", got, golden)
	}
	if want := netip.MustParseAddrPort("80.0.0.2:6881"); m.ip != want {
		t.Errorf("got ip %v, want %v", m.ip, want)
	}
	for packet, want := range map[string]string{errorList: "A Generic Error occurred", errorText: "oops"} {
		m, err := parseMessage([]byte(packet))
		if err != nil || m.code != 201 || string(m.text) != want {
			t.Errorf("%q parsed as %+v, %v", packet, m, err)
		}
		var lib krpc.Msg
		if err := bencode.Unmarshal(m.canonical(m.t), &lib); err != nil || lib.E.Code != 201 || lib.E.Msg != want {
			t.Errorf("the library reads the canonical form of %q as %+v, %v", packet, lib, err)
		}
	}
}

// TestKillers feeds each killer datagram to a running node: it is counted under
// its name, and the node goes on.
func TestKillers(t *testing.T) {
	for _, killer := range killers {
		t.Run(killer.name, func(t *testing.T) {
			s := &starter{t: t, mem: newMemNet(0)}
			n := s.node(Config{})
			defer s.closeAll()
			peer := s.mem.listen(memAddr(9))
			b := make([]byte, 65536)
			if got := n.families[0].conn.accept(b, copy(b, killer.packet), peer.addr); got != 0 {
				t.Errorf("a packet of %d bytes was passed on", got)
			}
			if got := n.Stats()[killer.counter]; got != 1 {
				t.Errorf("%s is %d, want 1; all: %v", killer.counter, got, n.Stats())
			}
			if _, err := peer.WriteTo([]byte(ping), n.families[0].conn.LocalAddr()); err != nil {
				t.Fatal(err)
			}
			size, _, err := peer.ReadFrom(b)
			if err != nil || !bytes.Contains(b[:size], []byte("1:t2:aa1:y1:re")) {
				t.Errorf("the node answered %q, %v to a ping", b[:size], err)
			}
		})
	}
}

// FuzzPacket holds that no datagram gets past parseMessage that the library
// cannot decode, that an answer's canonical form is a fixed point, and that
// answering any query neither panics nor produces something unreadable.
func FuzzPacket(f *testing.F) {
	seeds := []string{ping, findNode, getPeers, announce, pong, errorList, errorText, string(goldenAnswer())}
	for _, method := range []string{"get", "put"} {
		seeds = append(seeds, fmt.Sprintf("d1:ad3:casi1e2:id20:%s1:k32:%s4:salt1:s3:seqi5e3:sig64:%s6:target20:%s5:token3:tok1:v5:valuee1:q3:%s1:t2:aa1:y1:qe",
			id20, strings.Repeat("k", 32), strings.Repeat("s", 64), id20, method))
	}
	for _, killer := range killers {
		seeds = append(seeds, killer.packet)
	}
	for _, seed := range seeds {
		f.Add([]byte(seed))
	}
	s := &starter{t: f, mem: newMemNet(0)}
	n := s.node(Config{})
	f.Cleanup(s.closeAll)
	from := netip.MustParseAddrPort(memAddr(9))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseMessage(b)
		if err != nil {
			return
		}
		if m.kind == 'q' {
			m.args.token = n.families[0].tokens.give(from.Addr(), time.Now())
			n.families[0].answer(m, from)
			return
		}
		canonical := m.canonical(m.t)
		var lib krpc.Msg
		if err := bencode.Unmarshal(canonical, &lib); err != nil {
			t.Fatalf("the library cannot decode %q: %v", canonical, err)
		}
		again, err := parseMessage(canonical)
		if err != nil {
			t.Fatalf("the canonical form %q is refused: %v", canonical, err)
		}
		if got := again.canonical(again.t); !bytes.Equal(got, canonical) {
			t.Fatalf("the canonical form of\n%q is\n%q", canonical, got)
		}
		if lib.R != nil {
			r := &reply{contact: contact{addr: from}, family: n.families[0], values: *lib.R}
			_, _ = itemIn(r, lib.R.K, nil, &proof{})
			if nodes := r.nodes(); len(nodes) > maxNamed {
				t.Fatalf("%d nodes taken from one answer", len(nodes))
			}
		}
	})
}

// TestAnswersAreReadable decodes our own answers with the library's decoder.
func TestAnswersAreReadable(t *testing.T) {
	s := &starter{t: t, mem: newMemNet(0)}
	n := s.node(Config{})
	defer s.closeAll()
	peer := s.mem.listen(memAddr(9))
	for _, query := range []string{ping, findNode, getPeers, announce, strings.Replace(ping, "4:ping", "4:vote", 1)} {
		if _, err := peer.WriteTo([]byte(query), n.families[0].conn.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 2048)
		var m krpc.Msg
		for m.Y == "" || m.Y == "q" { // our node pings back
			size, _, err := peer.ReadFrom(b)
			if err != nil {
				t.Fatal(err)
			}
			m = krpc.Msg{}
			if err := bencode.Unmarshal(b[:size], &m); err != nil {
				t.Fatalf("answer %q: %v", b[:size], err)
			}
		}
		if !m.IP.UDP().IP.Equal(net.IP(peer.addr.Addr().AsSlice())) || m.T != "aa" {
			t.Errorf("the answer to %q is %+v", query, m)
		}
	}
}
