package transport

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"testing"

	"github.com/gocarrier/carrier/internal/wire"
)

func packetSuites() []suite { return []suite{suiteAES128GCM, suiteChaCha20Poly1305} }

// packetMaster returns a master secret that differs by n.
func packetMaster(n byte) []byte { return bytes.Repeat([]byte{n}, secretSize) }

// packetPair returns the ends of one link.
func packetPair(s suite) (lower, higher *linkKeys) {
	return newLinkKeys(s, packetMaster(1), true), newLinkKeys(s, packetMaster(1), false)
}

func aesBlock(t *testing.T, key []byte) cipher.Block {
	t.Helper()
	b, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// eachSuite runs a test under both suites.
func eachSuite(t *testing.T, f func(*testing.T, suite)) {
	t.Helper()
	for _, s := range packetSuites() {
		t.Run(fmt.Sprintf("%04x", uint16(s)), func(t *testing.T) { f(t, s) })
	}
}

func TestSealOpen(t *testing.T) {
	eachSuite(t, func(t *testing.T, s suite) {
		a, b := packetPair(s)
		for i, size := range []int{0, 1, 2, 15, 16, 17, 1171, 1400, 65000} {
			pn, plaintext := uint64(i*i*1000), bytes.Repeat([]byte{byte(i + 1)}, size)
			before := []byte("before")
			p := a.seal(before, a.outID(7), pn, plaintext)
			if !bytes.HasPrefix(p, before) {
				t.Fatalf("seal did not append: %x", p[:6])
			}
			p = p[len(before):]
			if len(p) != size+dataOverhead {
				t.Errorf("%d bytes make a packet of %d, want %d more", size, len(p), dataOverhead)
			}
			if size > 15 && bytes.Contains(p, plaintext[:16]) {
				t.Error("the plaintext shows")
			}
			gotPN, got, err := b.open(p)
			if err != nil || gotPN != pn || !bytes.Equal(got, plaintext) {
				t.Errorf("%d bytes: packet %d, %d bytes, %v", size, gotPN, len(got), err)
			}
		}
	})
}

// TestSealInPlace lets the frames stand where the ciphertext goes.
func TestSealInPlace(t *testing.T) {
	eachSuite(t, func(t *testing.T, s suite) {
		a, b := packetPair(s)
		frames := []byte("frames written into the packet's own buffer")
		buf := make([]byte, 100, 500)
		plaintext := buf[100+dataHeader : 100+dataHeader+len(frames)][:len(frames):len(frames)]
		copy(plaintext, frames)
		p := a.seal(buf, a.outID(0), 0, plaintext)
		if &p[0] != &buf[0] {
			t.Error("the buffer had room, and another was made")
		}
		if _, got, err := b.open(p[100:]); err != nil || !bytes.Equal(got, frames) {
			t.Errorf("opened: %q, %v", got, err)
		}
	})
}

// TestEveryBit flips each bit of a packet, cuts it everywhere and appends to
// it; after all that the packet itself still opens.
func TestEveryBit(t *testing.T) {
	eachSuite(t, func(t *testing.T, s suite) {
		a, b := packetPair(s)
		b.seal(nil, b.outID(0), 0, nil) // so that a phase may begin
		p := a.seal(nil, a.outID(0), 3, []byte("a few frames"))
		tries := uint64(0)
		refuse := func(what string, changed []byte) {
			t.Helper()
			_, _, err := b.open(changed)
			if !errors.Is(err, errAuth) && !errors.Is(err, errNotData) {
				t.Errorf("%s: %v", what, err)
			}
			if errors.Is(err, errAuth) {
				tries++
			}
		}
		for i := range len(p) * 8 {
			changed := bytes.Clone(p)
			changed[i/8] ^= 1 << (i % 8)
			refuse(fmt.Sprintf("bit %d of byte %d", i%8, i/8), changed)
		}
		for n := range p {
			refuse(fmt.Sprintf("%d bytes", n), bytes.Clone(p[:n]))
		}
		refuse("a byte more", append(bytes.Clone(p), 0))
		if b.failed != tries {
			t.Errorf("%d packets counted as failed, want %d", b.failed, tries)
		}
		if pn, got, err := b.open(p); err != nil || pn != 3 || string(got) != "a few frames" {
			t.Errorf("untouched: packet %d, %q, %v", pn, got, err)
		}
	})
}

// TestForeignPackets opens nothing of another link or of ourselves.
func TestForeignPackets(t *testing.T) {
	eachSuite(t, func(t *testing.T, s suite) {
		a, b := packetPair(s)
		if _, _, err := a.open(a.seal(nil, a.outID(0), 0, []byte("mine"))); !errors.Is(err, errAuth) {
			t.Errorf("our own packet came back: %v", err)
		}
		other := newLinkKeys(s, packetMaster(2), true)
		if _, _, err := b.open(other.seal(nil, b.inID(0), 0, []byte("other's"))); !errors.Is(err, errAuth) {
			t.Errorf("another link's packet: %v", err)
		}
	})
}

// TestHeaderIsHidden looks for what a watcher must not see: packets of rising
// numbers, whose first bytes and numbers look random.
func TestHeaderIsHidden(t *testing.T) {
	eachSuite(t, func(t *testing.T, s suite) {
		a, _ := packetPair(s)
		first, number := map[byte]int{}, map[string]int{}
		const packets = 4096
		for pn := range uint64(packets) {
			p := a.seal(nil, a.outID(0), pn, []byte("the same frames"))
			first[p[0]]++
			number[string(p[dataNumberAt:dataHeader])]++
		}
		for b := byte(0xC0); b <= 0xC7; b++ {
			if n := first[b]; n < packets/8*3/4 || n > packets/8*5/4 {
				t.Errorf("%d of %d packets begin with %#02x, want about an eighth", n, packets, b)
			}
		}
		if len(number) < packets-2 {
			t.Errorf("%d masked numbers are different, of %d", len(number), packets)
		}
	})
}

func TestExpandNumber(t *testing.T) {
	const half, full = 1 << 31, 1 << 32
	for _, c := range []struct {
		expected uint64
		low      uint32
		want     uint64
	}{
		{0, 0, 0},
		{0, 1<<32 - 1, 1<<32 - 1}, // nothing below zero
		{full, 0, full},
		{full, 1<<32 - 1, full - 1},
		{full - 1, 0, full},
		{half, 0, full}, // of two as near the higher one
		{half - 1, 0, 0},
		{half + 1, 1, full + 1},
		{half + 1, 2, 2},
		{full - 1, half - 1, full + half - 1},
		{full - 1, half, half},
		{5*full + half + 3, 3, 6*full + 3},
		{5*full + half + 3, 4, 5*full + 4},
		{5*full + half - 1, 1<<32 - 1, 5*full - 1 + full},
		{5 * full, half, 5*full + half},
		{5 * full, half + 1, 4*full + half + 1},
		{wire.MaxVarint, 1<<32 - 1, wire.MaxVarint},
		{wire.MaxVarint, 0, wire.MaxVarint + 1 - full},
		{wire.MaxVarint + 1, 1<<32 - 1, wire.MaxVarint},
		{wire.MaxVarint + 1, 0, wire.MaxVarint + 1 - full},
	} {
		if got := expandNumber(c.expected, c.low); got != c.want {
			t.Errorf("expected %#x, low %#x: got %#x, want %#x", c.expected, c.low, got, c.want)
		}
	}
	// Whatever is within half the window of the expected number comes back.
	for _, expected := range []uint64{half, full, 3*full + 12345, wire.MaxVarint - half} {
		for _, d := range []int64{1 - half, -8192, -1, 0, 1, 8192, half - 1, half} {
			pn := uint64(int64(expected) + d)
			if got := expandNumber(expected, uint32(pn)); got != pn {
				t.Errorf("expected %#x: %#x came back as %#x", expected, pn, got)
			}
		}
	}
}

// TestNumberRepeated holds that no nonce is used twice.
func TestNumberRepeated(t *testing.T) {
	for _, second := range []uint64{5, 4, 0} {
		a, _ := packetPair(suiteAES128GCM)
		a.seal(nil, a.outID(0), 5, nil)
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("packet %d was sealed after packet 5", second)
				}
			}()
			a.seal(nil, a.outID(0), second, nil)
		}()
	}
}

func TestNoAllocation(t *testing.T) {
	eachSuite(t, func(t *testing.T, s suite) {
		const packets = 200
		a, b := packetPair(s)
		id, plaintext := a.outID(0), make([]byte, 1371)
		buf := make([]byte, 0, 1400)
		pn := uint64(0)
		if n := testing.AllocsPerRun(packets, func() {
			buf = a.seal(buf[:0], id, pn, plaintext)
			if _, _, err := b.open(buf); err != nil {
				t.Fatal(err)
			}
			pn++
		}); n != 0 {
			t.Errorf("sealing and opening a packet allocates %v times", n)
		}
		// What does not open is no dearer.
		forged := a.seal(nil, id, pn, plaintext)
		work := make([]byte, len(forged))
		if n := testing.AllocsPerRun(packets, func() {
			copy(work, forged)
			work[20] ^= 1
			if _, _, err := b.open(work); !errors.Is(err, errAuth) {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("refusing a packet allocates %v times", n)
		}
	})
}

// TestKeysMemory bounds what the keys of an idle link hold.
func TestKeysMemory(t *testing.T) {
	const links, most = 500, 8 << 10
	eachSuite(t, func(t *testing.T, s suite) {
		heap := func() uint64 {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return m.HeapAlloc
		}
		all := make([]*linkKeys, links)
		before := heap()
		for i := range all {
			all[i] = newLinkKeys(s, packetMaster(byte(i)), true)
			all[i].receive.advance(0) // with the keys of a phase before
		}
		after := heap()
		each := (int64(after) - int64(before)) / links
		t.Logf("%d bytes a link", each)
		if each > most || each < 1<<10 {
			t.Errorf("the keys of a link hold %d bytes, want at most %d (and some)", each, most)
		}
		runtime.KeepAlive(all)
	})
}

func TestKeysRedacted(t *testing.T) {
	a, _ := packetPair(suiteAES128GCM)
	secret := a.sendIDs.secret
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("keys", "keys", a)
	for _, text := range []string{
		fmt.Sprint(a), fmt.Sprintf("%v %+v %#v %x", *a, a, a, a), fmt.Sprintf("%+v", struct{ K *linkKeys }{a}), log.String(),
	} {
		if strings.Contains(text, fmt.Sprintf("%x", secret)) || strings.Contains(text, fmt.Sprint(secret)) ||
			strings.Contains(text, fmt.Sprint(a.send.ratchet.secret)) || !strings.Contains(text, "[redacted]") {
			t.Errorf("printed: %s", text)
		}
	}
}
