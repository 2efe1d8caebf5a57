package carrier_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/carriertest"
	"github.com/gocarrier/carrier/internal/lab"
)

var rewrite = flag.Bool("rewrite", false, "record docs/vectors/link.json anew")

const recordingFile = "docs/vectors/link.json"

// A linkRecording is every datagram between two nodes from their friendship to the
// end of their link, with the keys to it and with what the two programs sent.
// docs/vectors/README.md explains the fields; package transport opens it.
type linkRecording struct {
	About     string              `json:"about"`
	People    [2]recordedPerson   `json:"people"`
	KeyLog    []string            `json:"keylog"`
	Want      map[string]string   `json:"want"`
	Datagrams []*recordedDatagram `json:"datagrams"`
}

type recordedPerson struct {
	Name    string           `json:"name"`
	Seed    string           `json:"seed"`
	ID      string           `json:"id"`
	Address string           `json:"address"`
	Prekeys []recordedPrekey `json:"prekeys"`
}

type recordedPrekey struct {
	Number  string `json:"number"`
	Private string `json:"private"`
}

// recordedDatagram is one datagram; lists have one a line.
type recordedDatagram struct {
	Time  string `json:"time"` // µs since 1970
	From  string `json:"from"`
	Bytes string `json:"bytes"`
}

// tape takes a recording.
type tape struct {
	mu        sync.Mutex
	names     map[netip.Addr]string
	datagrams []*recordedDatagram
	keyLog    bytes.Buffer
}

func (p *tape) tap(from, to netip.AddrPort, b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if name := p.names[from.Addr()]; name != "" && p.names[to.Addr()] != "" {
		p.datagrams = append(p.datagrams, &recordedDatagram{
			strconv.FormatInt(time.Now().UnixMicro(), 10), name, hex.EncodeToString(b),
		})
	}
}

// Write takes the key log. Both ends log the same link.
func (p *tape) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !bytes.Contains(p.keyLog.Bytes(), b) {
		_, _ = p.keyLog.Write(b) // never fails
	}
	return len(b), nil
}

func recordedPersonOf(node *person, address string) recordedPerson {
	seed, prekeys := node.InsecureKeys()
	r := recordedPerson{
		Name: node.config.Name, Seed: hex.EncodeToString(seed), ID: hex.EncodeToString(node.ID().Bytes()), Address: address,
	}
	for _, k := range prekeys {
		r.Prekeys = append(r.Prekeys, recordedPrekey{strconv.FormatUint(k.Number, 10), hex.EncodeToString(k.Private[:])})
	}
	return r
}

// TestRecording has two nodes do over a link what can be done, and records it;
// with -rewrite it keeps that for other implementations. It holds that the
// recording that is kept says the same things by the same kinds of datagrams.
func TestRecording(t *testing.T) {
	bubbleWith(t, &carriertest.Options{Delay: 20 * time.Millisecond, Jitter: 5 * time.Millisecond}, func(t *testing.T, n *carriertest.Network) {
		fresh := newRecording(t, n)
		if *rewrite {
			fresh.write(t)
		}
		kept := readRecording(t)
		if got, want := slices.Sorted(maps.Keys(kept.Want)), slices.Sorted(maps.Keys(fresh.Want)); !slices.Equal(got, want) {
			t.Errorf("%s tells of %v, a new one of %v: record it anew with -rewrite", recordingFile, got, want)
		}
		if got, want := kept.kinds(), fresh.kinds(); got != want {
			t.Errorf("%s has datagrams of the kinds %s, a new one %s: record it anew with -rewrite", recordingFile, got, want)
		}
	})
}

// newRecording records a new pair.
func newRecording(t *testing.T, n *carriertest.Network) *linkRecording {
	t.Helper()
	tape := &tape{names: map[netip.Addr]string{}}
	n.Tap(tape.tap)
	var people [2]*person
	var addresses [2]string
	for i, name := range []string{"Alice", "Bob"} {
		host := n.Host().(*lab.Host)
		config := carrier.Config{Dir: t.TempDir(), Name: name, Net: host}
		config.LogKeys(tape)
		people[i] = &person{t: t, net: n, config: config}
		people[i].start()
		addr := addrs(t, host)[0]
		addresses[i] = netip.AddrPortFrom(addr, people[i].LocalAddrs()[0].Port()).String()
		tape.mu.Lock()
		tape.names[addr] = name
		tape.mu.Unlock()
	}
	p := &pair{alice: people[0], bob: people[1]}
	p.ab, p.ba = befriend(p.alice, p.bob)
	p.linked(t)
	r := &linkRecording{
		About: "All datagrams between two nodes, from before they are friends to the end of their link.",
		Want:  talk(t, p),
	}
	for i := range people {
		r.People[i] = recordedPersonOf(people[i], addresses[i])
	}
	p.alice.leave()
	time.Sleep(time.Second)
	tape.mu.Lock()
	defer tape.mu.Unlock()
	r.KeyLog = strings.Split(strings.TrimSpace(tape.keyLog.String()), "\n")
	r.Datagrams = tape.datagrams
	return r
}

// kinds lists the first bytes of the datagrams, each once; those of STUN and of
// data packets, where low bits are random or masked, by their highest bits.
func (r *linkRecording) kinds() string {
	seen := map[string]bool{}
	for _, d := range r.Datagrams {
		first := d.Bytes[:2]
		if first < "04" || first >= "c0" && first < "c8" {
			first = first[:1]
		}
		seen[first] = true
	}
	return strings.Join(slices.Sorted(maps.Keys(seen)), " ")
}

func readRecording(t *testing.T) *linkRecording {
	t.Helper()
	b, err := os.ReadFile(recordingFile)
	if err != nil {
		t.Fatal(err)
	}
	r := &linkRecording{}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(r); err != nil {
		t.Fatalf("%s: %v", recordingFile, err)
	}
	return r
}

// write keeps the recording, a datagram a line.
func (r *linkRecording) write(t *testing.T) {
	t.Helper()
	datagrams := r.Datagrams
	r.Datagrams = nil
	head, err := json.MarshalIndent(r, "", "\t")
	r.Datagrams = datagrams
	if err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	file.Write(bytes.TrimSuffix(head, []byte("null\n}")))
	file.WriteString("[\n")
	for i, d := range datagrams {
		line, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			file.WriteString(",\n")
		}
		fmt.Fprintf(&file, "\t\t%s", line)
	}
	file.WriteString("\n\t]\n}\n")
	const most = 300_000
	if file.Len() > most {
		t.Errorf("the recording has %d bytes, want at most %d", file.Len(), most)
	}
	if err := os.WriteFile(recordingFile, file.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// talk sends over a link what it can carry, and returns what was sent.
func talk(t *testing.T, p *pair) map[string]string {
	t.Helper()
	want := map[string]string{
		"message": "Tea at five?", "service": "library/1", "metadata": "shelf 3", "streams": "16", "refused": "kitchen",
		"refused_reason": "closed today", "close_code": "0",
	}
	m := p.alice.send(p.bob.ID(), want["message"])
	p.alice.delivered(m)
	want["message_id"] = m.ID().String()
	if got := p.bob.next(); got.body != want["message"] || got.courier != carrier.CourierLink {
		t.Errorf("the message %q came by %s, want it by the link", got.body, got.courier)
	}

	kitchen, err := p.bob.ListenSessions(want["refused"], &carrier.ListenOptions{
		Allow: func(*carrier.SessionRequest) error { return errors.New(want["refused_reason"]) },
	})
	p.bob.must(err)
	if _, err := p.ab.NewSession(t.Context(), want["refused"], nil); !errors.Is(err, carrier.ErrSessionRefused) {
		t.Errorf("a session that is refused: %v", err)
	}
	p.bob.must(kitchen.Close())
	a, b := p.session(t, want["service"], &carrier.SessionOptions{Metadata: []byte(want["metadata"]), Streams: 16})
	x, y := streamBetween(t, a, b, nil)
	want["stream_request"] = "a book on tea"
	exchange(t, x, y, []byte(want["stream_request"]))
	book := randomBytes(24_000, 1)
	want["stream_response_sha256"] = sum(book)
	exchange(t, y, x, book)

	x, y = streamBetween(t, b, a, &carrier.StreamOptions{Bulk: true})
	film := randomBytes(12_000, 2)
	want["bulk_sha256"] = sum(film)
	exchange(t, x, y, film)
	exchange(t, y, x, nil)

	x, y = streamBetween(t, a, b, &carrier.StreamOptions{Mode: carrier.Datagram})
	for i := range 3 {
		want[fmt.Sprint("datagram_", i)] = fmt.Sprint("page ", i)
		page := []byte(want[fmt.Sprint("datagram_", i)])
		if _, err := x.Write(page); err != nil {
			t.Fatal(err)
		}
		if n, err := y.Read(page); err != nil || n != len(page) {
			t.Fatalf("a datagram of %d bytes, %v; want %d", n, err, len(page))
		}
	}
	p.alice.must(x.Close())
	p.bob.must(y.Close())
	time.Sleep(time.Second)
	p.alice.must(a.Close())
	<-a.Done()
	<-b.Done()
	time.Sleep(time.Second)
	return want
}

// exchange sends b from one end of a stream to the other, and ends that half.
func exchange(t *testing.T, from, to *carrier.Stream, b []byte) {
	t.Helper()
	go func() {
		if _, err := from.Write(b); err != nil {
			t.Error(err)
		}
		if err := from.CloseWrite(); err != nil {
			t.Error(err)
		}
	}()
	if got, err := io.ReadAll(to); err != nil || !bytes.Equal(got, b) {
		t.Errorf("%d bytes came, %v; want the %d that were sent", len(got), err, len(b))
	}
}

func sum(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b)) }
