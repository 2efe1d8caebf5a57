package carrier_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha1"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/carriertest"
)

// liars are DHT nodes that take part, know only each other, and lie about items.
type liars struct {
	conns []net.PacketConn
	nodes []byte // all of them, as compact node info
	key   ed25519.PrivateKey
	wait  sync.WaitGroup

	mu    sync.Mutex
	first map[string]map[string]any // the first item put under a target, kept for ever
	asked int
}

func newLiars(t *testing.T, network *carriertest.Network, n int) *liars {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	l := &liars{key: key, first: map[string]map[string]any{}}
	var ids [][]byte
	for range n {
		host := network.Host()
		local, err := host.LocalAddrs()
		if err != nil || len(local) == 0 {
			t.Fatalf("a host with the addresses %v: %v", local, err)
		}
		conn, err := host.ListenPacket(t.Context(), "udp4", ":6881")
		if err != nil {
			t.Fatal(err)
		}
		id := make([]byte, 20)
		rand.Read(id)
		ids = append(ids, id)
		l.conns = append(l.conns, conn)
		addr := local[0].Addr().As4()
		l.nodes = binary.BigEndian.AppendUint16(append(append(l.nodes, id...), addr[:]...), 6881)
	}
	for i, conn := range l.conns {
		l.wait.Go(func() { l.serve(conn, ids[i], i) })
	}
	return l
}

func (l *liars) close() {
	for _, conn := range l.conns {
		_ = conn.Close()
	}
	l.wait.Wait()
}

// answered is how many questions for items the liars have answered.
func (l *liars) answered() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.asked
}

// meet has every liar make itself known to nodes.
func (l *liars) meet(t *testing.T, nodes ...*carrier.Node) {
	t.Helper()
	for i, conn := range l.conns {
		id := string(l.nodes[26*i : 26*i+20])
		query := bencode(nil, map[string]any{"t": "hi", "y": "q", "q": "find_node", "a": map[string]any{"id": id, "target": id}})
		for _, node := range nodes {
			if _, err := conn.WriteTo(query, net.UDPAddrFromAddrPort(node.LocalAddrs()[0])); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// serve answers queries until the conn closes.
func (l *liars) serve(conn net.PacketConn, id []byte, kind int) {
	buf := make([]byte, 2048)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		v, _, ok := bdecode(string(buf[:n]))
		m, _ := v.(map[string]any)
		if !ok || m["y"] != "q" {
			continue
		}
		args, _ := m["a"].(map[string]any)
		method, _ := m["q"].(string)
		r := l.reply(method, args, kind)
		r["id"] = string(id)
		b := bencode(nil, map[string]any{"t": m["t"], "y": "r", "r": r})
		_, _ = conn.WriteTo(b, from) // the lab's writes fail only after Close
	}
}

func (l *liars) reply(method string, args map[string]any, kind int) map[string]any {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := map[string]any{"nodes": string(l.nodes), "token": "liar"}
	target, _ := args["target"].(string)
	switch method {
	case "put":
		k, _ := args["k"].(string)
		salt, _ := args["salt"].(string)
		at := sha1.Sum([]byte(k + salt))
		if l.first[string(at[:])] == nil {
			l.first[string(at[:])] = map[string]any{"k": k, "sig": args["sig"], "seq": args["seq"], "v": args["v"]}
		}
		return map[string]any{}
	case "get":
		l.asked++
		for name, value := range l.lie(l.first[target], kind) {
			r[name] = value
		}
	case "get_peers":
		r["values"] = []string{"\xc6\x12\x00\x01\x00\x00", string(append([]byte{198, 18, 0, 9}, 0xFF, byte(l.asked)))}
	}
	return r
}

// lie makes the item that a liar answers, from the first that it was given
// under the target; nil: none yet.
func (l *liars) lie(first map[string]any, kind int) map[string]any {
	own := func(value string, seq int64) map[string]any {
		v := bencode(nil, value)
		signed := append(fmt.Appendf(nil, "3:seqi%de1:v", seq), v...)
		return map[string]any{
			"k": string(l.key[32:]), "sig": string(ed25519.Sign(l.key, signed)), "seq": seq, "v": value,
		}
	}
	changed := func(name string, value any) map[string]any {
		if first == nil {
			return own("nothing", 1)
		}
		item := map[string]any{}
		for k, v := range first {
			item[k] = v
		}
		item[name] = value
		return item
	}
	switch kind % 6 {
	case 0: // stale, with a true signature
		if first != nil {
			return first
		}
		return map[string]any{}
	case 1: // the newest of all, with the signature of another
		return changed("seq", time.Now().UnixMilli()+1000)
	case 2:
		return changed("seq", int64(math.MaxInt64))
	case 3:
		return changed("v", string(bytes.Repeat([]byte("evil"), 128)))
	case 4: // somebody else's, with a true signature
		return own("theirs", time.Now().UnixMilli())
	default:
		return own(string(bytes.Repeat([]byte("o"), 1300)), time.Now().UnixMilli())
	}
}

// bencode appends a value of BEP 3: string, int64, []string or map.
func bencode(b []byte, v any) []byte {
	switch v := v.(type) {
	case string:
		b = append(fmt.Appendf(b, "%d:", len(v)), v...)
	case int64:
		b = fmt.Appendf(b, "i%de", v)
	case []string:
		b = append(b, 'l')
		for _, x := range v {
			b = bencode(b, x)
		}
		b = append(b, 'e')
	case map[string]any:
		b = append(b, 'd')
		for _, k := range slices.Sorted(maps.Keys(v)) {
			b = bencode(bencode(b, k), v[k])
		}
		b = append(b, 'e')
	default:
		panic(fmt.Sprintf("bencode of %T", v))
	}
	return b
}

// bdecode reads one value and returns what follows it. Lists become []any.
func bdecode(s string) (v any, rest string, ok bool) {
	if s == "" {
		return nil, "", false
	}
	switch s[0] {
	case 'i':
		number, rest, found := strings.Cut(s[1:], "e")
		n, err := strconv.ParseInt(number, 10, 64)
		return n, rest, found && err == nil
	case 'l', 'd':
		var all []any
		rest = s[1:]
		for rest != "" && rest[0] != 'e' {
			if v, rest, ok = bdecode(rest); !ok {
				return nil, "", false
			}
			all = append(all, v)
		}
		if rest == "" {
			return nil, "", false
		}
		if s[0] == 'l' {
			return all, rest[1:], true
		}
		m := map[string]any{}
		for i := 0; i+1 < len(all); i += 2 {
			if k, isString := all[i].(string); isString {
				m[k] = all[i+1]
			}
		}
		return m, rest[1:], true
	}
	length, tail, found := strings.Cut(s, ":")
	n, err := strconv.Atoi(length)
	if !found || err != nil || n < 0 || n > len(tail) {
		return nil, "", false
	}
	return tail[:n], tail[n:], true
}
