package carrier_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/carriertest"
	"github.com/gocarrier/carrier/internal/wire"
)

// What is said in the private story, long enough to be found by chance by nobody.
const (
	privateAlice   = "Alice Liddell of Christ Church"
	privateBob     = "Robert the gardener of Kew"
	privateHello   = "we met at the tea party on Thursday"
	privateDirect  = "the jam is in the left cupboard"
	privateMailbox = "the key is under the third flower pot"
)

// recording is what was handed to the network.
type recording struct {
	mu      sync.Mutex
	sent    [][]byte
	stopped bool
}

func (r *recording) add(_, _ netip.AddrPort, b []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.stopped {
		r.sent = append(r.sent, bytes.Clone(b))
	}
}

// stop ends the recording, which a Tap cannot be taken back for.
func (r *recording) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped = true
}

func (r *recording) all() [][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.sent)
}

// secrets are byte strings that must not be on the wire, by what they are.
type secrets map[string][]byte

// addKey adds a public key in every form that somebody might write it in.
func (s secrets) addKey(name string, key []byte) {
	s[name+", raw"] = key
	s[name+", hex"] = []byte(hex.EncodeToString(key))
	s[name+", HEX"] = []byte(strings.ToUpper(hex.EncodeToString(key)))
	s[name+", base58"] = []byte(carrier.ID(key).String())
	// The last character of an unpadded base64 depends on what follows.
	s[name+", base64"] = []byte(base64.RawStdEncoding.EncodeToString(key))[:len(key)*4/3]
	s[name+", base64url"] = []byte(base64.RawURLEncoding.EncodeToString(key))[:len(key)*4/3]
}

// montgomery is the X25519 form of an Ed25519 key: u = (1 + y) / (1 - y) modulo
// 2^255 - 19 (RFC 7748, section 4.1), little-endian.
func montgomery(id carrier.ID) []byte {
	b := id.Bytes()
	b[31] &= 0x7F // the sign of x
	slices.Reverse(b)
	one, p := big.NewInt(1), new(big.Int).Lsh(big.NewInt(1), 255)
	p.Sub(p, big.NewInt(19))
	y := new(big.Int).SetBytes(b)
	u := new(big.Int).ModInverse(new(big.Int).Mod(new(big.Int).Sub(one, y), p), p)
	u.Mod(u.Mul(u, new(big.Int).Add(one, y)), p)
	u.FillBytes(b)
	slices.Reverse(b)
	return b
}

// addPerson adds what names a person: identity key, its X25519 form, Address.
func (s secrets) addPerson(name string, address carrier.Address) {
	s.addKey("identity key of "+name, address.ID.Bytes())
	s.addKey("X25519 key of "+name, montgomery(address.ID))
	s["address of "+name+", base58"] = []byte(address.String())
	raw := append(append([]byte{1}, address.ID[:]...), address.Nospam[:]...)
	sum := sha256.Sum256(raw)
	s["address of "+name+", raw"] = append(raw, sum[:4]...)
	s["nospam of "+name+", raw"] = address.Nospam[:]
	s["nospam of "+name+", hex"] = []byte(hex.EncodeToString(address.Nospam[:]))
}

func (s secrets) addText(texts ...string) {
	for _, text := range texts {
		s[fmt.Sprintf("text %q", text)] = []byte(text)
	}
}

// leaks returns the names of the secrets that stand in any of the datagrams, in
// order.
func (s secrets) leaks(datagrams [][]byte) []string {
	var found []string
	for name, secret := range s {
		if slices.ContainsFunc(datagrams, func(b []byte) bool { return bytes.Contains(b, secret) }) {
			found = append(found, name)
		}
	}
	slices.Sort(found)
	return found
}

// itemValue is the head of a value in a put or an answer to a get. The version
// of a client stands under the same key, 4 bytes long.
var itemValue = regexp.MustCompile(`1:v(\d+):`)

// oddSizes returns what is wrong with the lengths of datagrams and of the DHT
// values in them, and how many of each it has seen.
func oddSizes(datagrams [][]byte) (odd []string, envelopes, values int) {
	for _, b := range datagrams {
		switch {
		case len(b) == 0:
			odd = append(odd, "an empty datagram")
		case b[0] >= 0xC8 && b[0] <= 0xCB:
			envelopes++
			if !slices.Contains([]int{256, 512, 900, 1408}, len(b)) {
				odd = append(odd, fmt.Sprintf("an envelope of %d bytes", len(b)))
			}
		case b[0] == 'd':
			for _, m := range itemValue.FindAllSubmatch(b, -1) {
				n, err := strconv.Atoi(string(m[1]))
				if err == nil && n > 4 {
					values++
					if n != 512 && n != 900 {
						odd = append(odd, fmt.Sprintf("a DHT value of %d bytes", n))
					}
				}
			}
		case b[0] <= 1, b[0] >= 0xC0 && b[0] <= 0xC7, b[0] == 0xCC: // a link's: STUN, data, handshake
		default:
			odd = append(odd, fmt.Sprintf("a datagram that begins with 0x%02X", b[0]))
		}
	}
	return odd, envelopes, values
}

// TestNothingPrivateOnTheWire records every datagram of a whole story, both
// online and apart, and looks in all of them for what must stay private.
func TestNothingPrivateOnTheWire(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		network := carriertest.NewNetwork(t, nil)
		var wire recording
		network.Tap(wire.add)
		private, err := privateStory(t, network, dir)
		if err != nil {
			t.Fatal(err)
		}
		datagrams := wire.all()
		for _, name := range private.leaks(datagrams) {
			t.Errorf("on the wire: %s", name)
		}
		odd, envelopes, values := oddSizes(datagrams)
		for _, what := range odd {
			t.Errorf("sent: %s", what)
		}
		if envelopes < 10 || values < 10 {
			t.Errorf("recorded %d envelopes and %d DHT values, want at least 10 of each: the story did not run", envelopes, values)
		}
		t.Logf("%d datagrams, %d envelopes, %d DHT values: %d secrets looked for", len(datagrams), envelopes, values, len(private))
	})
}

// privateStory has two people meet, talk, and leave a message for each other.
func privateStory(t *testing.T, network *carriertest.Network, dir string) (secrets, error) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	bobHost := network.Host()
	bobConfig := carrier.Config{Dir: filepath.Join(dir, "bob"), Name: privateBob, Net: bobHost}
	alice := network.Start(carrier.Config{Dir: filepath.Join(dir, "alice"), Name: privateAlice})
	bob := network.Start(bobConfig)
	for _, node := range []*carrier.Node{alice, bob} {
		if err := node.WaitReady(ctx); err != nil {
			return nil, err
		}
	}
	private := secrets{}
	private.addPerson("Alice", alice.Address())
	private.addPerson("Bob", bob.Address())
	private.addText(privateAlice, privateBob, privateHello, privateDirect, privateMailbox)

	events := bob.Events(ctx)
	toBob, err := alice.AddFriend(ctx, bob.Address(), privateHello)
	if err != nil {
		return nil, err
	}
	request, err := requestOf(events, alice.ID())
	if err != nil {
		return nil, err
	}
	if request.Hello != privateHello || request.Name != privateAlice {
		return nil, fmt.Errorf("the request says %q, %q", request.Name, request.Hello)
	}
	toAlice, err := bob.Accept(alice.ID())
	if err != nil {
		return nil, err
	}
	for _, f := range []*carrier.Friend{toBob, toAlice} {
		if err := f.WaitOnline(ctx); err != nil {
			return nil, err
		}
	}
	for _, way := range []struct {
		friend *carrier.Friend
		reader *carrier.Node
	}{{toBob, bob}, {toAlice, alice}} {
		sent, err := sendAll(ctx, way.friend, privateDirect, strings.Repeat(privateDirect, 30))
		if err != nil {
			return nil, err
		}
		if _, err := takeSame(ctx, way.reader, sent); err != nil {
			return nil, err
		}
		if err := delivered(ctx, sent); err != nil {
			return nil, err
		}
	}
	if err := bob.Shutdown(ctx); err != nil {
		return nil, err
	}
	// One that fits into a slot, and one that takes several.
	sent, err := sendAll(ctx, toBob, privateMailbox, strings.Repeat(privateMailbox, 60))
	if err != nil {
		return nil, err
	}
	for _, msg := range sent {
		if err := msg.WaitStored(ctx); err != nil {
			return nil, err
		}
	}
	bob = network.Start(bobConfig)
	if _, err := takeSame(ctx, bob, sent); err != nil {
		return nil, err
	}
	return private, bob.Shutdown(ctx)
}

// TestPrivacyCheckSeesLeaks sends from a node's host what must never be sent,
// and has the same check find it: one envelope that somebody forgot to seal,
// and each secret by itself.
func TestPrivacyCheckSeesLeaks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := carriertest.NewNetwork(t, nil)
		var recorded recording
		network.Tap(recorded.add)
		host := network.Host()
		alice := network.Start(carrier.Config{Ephemeral: true, Name: privateAlice, Net: host})
		bob := network.Node(privateBob)
		conn, err := host.ListenPacket(t.Context(), "udp4", ":0")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		send := func(b []byte) {
			t.Helper()
			if _, err := conn.WriteTo(b, net.UDPAddrFromAddrPort(bob.LocalAddrs()[0])); err != nil {
				t.Fatal(err)
			}
		}
		all := secrets{}
		all.addPerson("Alice", alice.Address())
		all.addPerson("Bob", bob.Address())
		all.addText(privateAlice, privateBob, privateHello, privateDirect, privateMailbox)
		if found := all.leaks(recorded.all()); found != nil {
			t.Fatalf("leaked before anything was sent: %q", found)
		}

		// The record of a friend request, in an envelope of a proper size, unsealed.
		record := wire.AppendRequest(nil, &wire.Request{
			From: alice.ID(), Nospam: bob.Address().Nospam, Number: 1, Format: wire.Format,
			Name: privateAlice, Hello: privateHello, Prekey: wire.Prekey{Number: 1},
		})
		body := wire.AppendSigned(nil, [64]byte{}, record)
		size, ok := wire.PadDatagram(len(body))
		if !ok {
			t.Fatal("the record does not fit a datagram")
		}
		plain := wire.AppendPlain(nil, wire.KindRequest, body, size)
		send(wire.AppendEnvelope(nil, [8]byte{1}, plain))
		want := []string{
			"identity key of Alice, raw", "nospam of Bob, raw",
			fmt.Sprintf("text %q", privateAlice), fmt.Sprintf("text %q", privateHello),
		}
		slices.Sort(want)
		if found := all.leaks(recorded.all()); !slices.Equal(found, want) {
			t.Errorf("of an unsealed request the check found %q, want %q", found, want)
		}
		// It is not sealed, so it lacks the seal's 40 bytes.
		if odd, _, _ := oddSizes(recorded.all()); len(odd) != 1 {
			t.Errorf("of an envelope of %d bytes the check found %q, want one fault", len(plain)+9, odd)
		}

		for name, secret := range all {
			only := secrets{name: secret}
			before := len(recorded.all())
			send(append(append([]byte{0xC8, 1, 2, 3}, secret...), 9))
			if found := only.leaks(recorded.all()[before:]); !slices.Equal(found, []string{name}) {
				t.Errorf("the check found %q, want %q", found, name)
			}
		}
		for _, bad := range []string{"", "\x05five", "d1:ad1:v513:e"} {
			if odd, _, _ := oddSizes([][]byte{[]byte(bad)}); len(odd) != 1 {
				t.Errorf("of %q the check found %q, want one fault", bad, odd)
			}
		}
	})
}
