package delivery

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gocarrier/carrier/internal/wire"
)

var rewrite = flag.Bool("rewrite", false, "write the transcripts in testdata anew")

// TestTranscripts runs the commands in testdata, the lines that begin with
// "$ ", and compares what they print with the lines below each. The commands
// are explained at the methods of script.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	must(t, err)
	if len(files) < 16 {
		t.Fatalf("%d transcripts in testdata, want all", len(files))
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			must(t, err)
			got := play(t, string(want))
			if *rewrite {
				must(t, os.WriteFile(file, []byte(got), 0o644))
				return
			}
			if got != string(want) {
				t.Errorf("differs from %s (run with -rewrite and look at the changes):\n%s", file, firstDifference(got, string(want)))
			}
		})
	}
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range g {
		if i >= len(w) || g[i] != w[i] {
			return fmt.Sprintf("line %d\n got: %s\nwant: %s", i+1, g[i], strings.Join(w[min(i, len(w)):min(i+1, len(w))], ""))
		}
	}
	return "lines are missing"
}

// play returns the transcript with the output of its commands renewed.
func play(t *testing.T, text string) string {
	s := &script{t: t, now: time.UnixMilli(1_000_000), limits: DefaultLimits(), nodes: make(map[string]*node), packets: make(map[string]packet), saved: make(map[string]store)}
	var out strings.Builder
	output := false // the lines are what a command has printed
	for line := range strings.Lines(text) {
		switch command, ok := strings.CutPrefix(line, "$ "); {
		case ok:
			out.WriteString(line)
			s.out = &out
			s.run(strings.Fields(command))
			output = true
		case output && strings.HasPrefix(line, "  "):
		default:
			output = false
			out.WriteString(line)
		}
	}
	return out.String()
}

type script struct {
	t       *testing.T
	out     *strings.Builder
	now     time.Time
	limits  Limits
	nodes   map[string]*node
	packets map[string]packet
	saved   map[string]store
}

func (s *script) printf(format string, args ...any) {
	fmt.Fprintf(s.out, "  "+format+"\n", args...)
}

// run does one command.
//
//	limits window=4 …     for the nodes made after it
//	wait 10s              the clock goes on, both nodes do what is due
//	<node> <verb> …       one turn of a node, which is made, open and with a
//	                      courier for 1,000 bytes at hand, when it is named first
//	!<node> <verb> …      the same, but it crashes before the commit
func (s *script) run(words []string) {
	args, options := words[1:], make(map[string]string)
	for i := 0; i < len(args); i++ {
		if k, v, ok := strings.Cut(args[i], "="); ok {
			options[k] = v
			args = append(args[:i:i], args[i+1:]...)
			i--
		}
	}
	switch who, crashes := strings.CutPrefix(words[0], "!"); who {
	case "limits":
		for k, v := range options {
			*map[string]*int{
				"outbox": &s.limits.Outbox, "outboxbytes": &s.limits.OutboxBytes, "ended": &s.limits.Ended,
				"inbox": &s.limits.Inbox, "inboxbytes": &s.limits.InboxBytes, "window": &s.limits.Window,
				"seen": &s.limits.Seen, "sequences": &s.limits.Sequences, "held": &s.limits.Held, "heldbytes": &s.limits.HeldBytes,
			}[k] = s.number(v)
		}
	case "wait":
		d, err := time.ParseDuration(args[0])
		must(s.t, err)
		s.now = s.now.Add(d)
		for _, who := range []string{"a", "b"} {
			if n := s.nodes[who]; n != nil {
				n.peer.Advance(s.now)
				s.commit(n, who+": ")
			}
		}
	default:
		n := s.node(who)
		s.turn(n, args[0], args[1:], options)
		if crashes {
			s.printf("(crashes before the commit)")
			must(s.t, n.restart(s.now))
			return
		}
		s.commit(n, "")
		must(s.t, n.same())
	}
}

func (s *script) node(who string) *node {
	if s.nodes[who] == nil {
		limits := s.limits
		n := newNode(who, int64(who[0]-'a'+1)*100, &limits)
		n.open, n.capacity = true, 1000
		must(s.t, n.restart(s.now))
		s.nodes[who] = n
	}
	return s.nodes[who]
}

func (s *script) number(text string) int {
	n, err := strconv.Atoi(text)
	must(s.t, err)
	return n
}

// turn does a verb of one node.
//
//	open, close refused|expired|cancelled, capacity N, crash
//	send m1 m2 … size=N expiry=10s count=N   with count: m1 … mN of the name m
//	mail p 1-3       names what would be sent of these numbers p
//	parts p 1 count=2 set=7                  the same, in parts p.1, p.2
//	receipt r        names the present receipt r
//	forge r counter=N number=N mark=m fork=1 a receipt with that changed
//	take p r …       it arrives
//	stored 1-3 copies=8
//	consume N
//	save x, load x   the store; wipe: a new store, of a later incarnation
//	outbox, pending, marks, stats, next      show
func (s *script) turn(n *node, verb string, args []string, options map[string]string) {
	p := n.peer
	switch verb {
	case "open":
		n.open = true
		p.Open(s.now, 1)
	case "close":
		n.open = false
		p.Close(s.now, map[string]State{"refused": Refused, "expired": Expired, "cancelled": Cancelled}[args[0]])
	case "capacity":
		n.capacity = s.number(args[0])
		p.SetCapacity(n.capacity)
	case "crash":
		must(s.t, n.restart(s.now))
	case "send":
		s.send(p, args, options)
	case "mail":
		first, last := s.span(args[1])
		s.name(args[0], packet{mail: overWire(n.mail(first, int(last-first+1)))})
	case "parts":
		number, _ := s.span(args[1])
		for i, m := range n.parts(number, s.number(options["count"]), uint64(s.number(options["set"]))) {
			s.name(fmt.Sprintf("%s.%d", args[0], i+1), packet{mail: overWire(m)})
		}
	case "receipt":
		s.name(args[0], packet{receipt: receiptOverWire(p.CurrentReceipt())})
	case "forge":
		s.forge(args[0], p.CurrentReceipt(), options)
	case "take":
		for _, what := range args {
			q, ok := s.packets[what]
			switch {
			case !ok:
				s.t.Fatalf("no packet %s", what)
			case q.receipt != nil:
				p.Receipt(s.now, q.receipt)
			case !p.Receive(s.now, overWire(q.mail), 2):
				s.printf("%s should be asked for again", what)
			}
		}
	case "stored":
		first, last := s.span(args[0])
		var numbers []uint64
		for i := first; i <= last; i++ {
			numbers = append(numbers, i)
		}
		p.Stored(s.now, p.Pending().Sequence, numbers, s.number(options["copies"]))
	case "consume":
		count, size := s.number(args[0]), 0
		for _, in := range n.inbox[len(n.inbox)-n.unread:][:count] {
			size += len(in.Body)
		}
		n.unread -= count
		p.Consumed(s.now, count, size)
	case "save":
		s.saved[args[0]] = n.clone()
	case "load":
		n.store = s.saved[args[0]].clone()
		must(s.t, n.restart(s.now))
	case "wipe":
		n.own.Created += 1000
		n.store = store{rows: make(map[string]string)}
		must(s.t, n.restart(s.now))
	default:
		s.show(n, verb)
	}
}

func (s *script) send(p *Peer, names []string, options map[string]string) {
	if c, ok := options["count"]; ok {
		prefix := names[0]
		names = nil
		for i := range s.number(c) {
			names = append(names, fmt.Sprintf("%s%d", prefix, i+1))
		}
	}
	m := Message{Time: s.now.UnixMilli(), Body: []byte("hello")}
	if size, ok := options["size"]; ok {
		m.Body = bytes.Repeat([]byte("x"), s.number(size))
	}
	if expiry, ok := options["expiry"]; ok {
		d, err := time.ParseDuration(expiry)
		must(s.t, err)
		m.Expiry = s.now.Add(d).UnixMilli()
	}
	for _, name := range names {
		m.ID = id(name)
		if err := p.Send(s.now, m); err != nil {
			s.printf("%s: %v", name, err)
		}
	}
}

func (s *script) span(text string) (first, last uint64) {
	from, to, ok := strings.Cut(text, "-")
	if !ok {
		to = from
	}
	return uint64(s.number(from)), uint64(s.number(to))
}

func (s *script) name(what string, p packet) {
	s.packets[what] = p
	if p.mail != nil {
		s.printf("%s: %s", what, describeMail(p.mail))
	} else {
		s.printf("%s: %s", what, describeReceipt(p.receipt))
	}
}

func (s *script) forge(what string, r *wire.Receipt, options map[string]string) {
	for k, v := range options {
		switch k {
		case "counter":
			r.Sequence.Counter = uint32(s.number(v))
		case "number":
			r.Number = uint64(s.number(v))
		case "mark":
			r.Mark = MarkOf(id(v))
		case "fork":
			r.Fork = v == "1"
		}
	}
	s.name(what, packet{receipt: receiptOverWire(r)})
}

func (s *script) show(n *node, what string) {
	switch what {
	case "outbox":
		for e := range n.peer.Outbox() {
			line := fmt.Sprintf("%s %s", name(e.ID), e.State)
			if e.State == Queued {
				line += ", " + e.Reason.String()
			}
			if e.State == Stored {
				line += fmt.Sprintf(", %d copies", e.Copies)
			}
			if e.Number > 0 {
				line += fmt.Sprintf(", number %d", e.Number)
			}
			s.printf("%s", line)
			if one, ok := n.peer.Entry(e.ID); !ok || one != e {
				s.t.Errorf("Entry(%s) is %+v, in Outbox it is %+v", name(e.ID), one, e)
			}
		}
	case "pending":
		q := n.peer.Pending()
		items := ""
		for _, it := range q.Items {
			items += " " + name(it.ID)
			if it.Skip {
				items += "(skip)"
			}
		}
		s.printf("%s base %d:%s", sequence(q.Sequence), q.Base, items)
	case "marks":
		for _, m := range marksOf(n.peer) {
			s.printf("%s", strings.ReplaceAll(m, `\x00`, ""))
		}
	case "stats":
		s.printf("%s", strings.Trim(fmt.Sprintf("%+v", n.peer.Stats()), "{}"))
	case "next":
		n.peer.drop(time.UnixMilli(n.peer.nextDrop())) // scripts are about what else is due
		if at := n.peer.Next(); at.IsZero() {
			s.printf("never")
		} else {
			s.printf("in %s", at.Sub(s.now))
		}
	default:
		s.t.Fatalf("no verb %s", what)
	}
}

// commit ends a turn and prints what came of it.
func (s *script) commit(n *node, prefix string) {
	out := n.take()
	n.commit(out)
	var rows, delivered, changes []string
	for _, r := range out.Rows {
		rows = append(rows, describeRow(r))
	}
	for _, in := range out.Delivered {
		delivered = append(delivered, name(in.ID))
	}
	for _, c := range out.Changes {
		changes = append(changes, fmt.Sprintf("%s %s", name(c.ID), c.State))
	}
	for _, l := range []struct {
		what string
		list []string
	}{{"delivered", delivered}, {"changes", changes}, {"rows", rows}} {
		if n := len(l.list); n > 12 {
			l.list = append(l.list[:6:6], fmt.Sprintf("… %d in all …", n), l.list[n-1])
		}
		if len(l.list) > 0 {
			s.printf("%s%s: %s", prefix, l.what, strings.Join(l.list, ", "))
		}
	}
	var flags []string
	for flag, set := range map[string]bool{"pending": out.PendingChanged, "receipt": out.ReceiptChanged} {
		if set {
			flags = append(flags, flag)
		}
	}
	if len(flags) == 2 {
		flags = []string{"pending", "receipt"}
	}
	if len(flags) > 0 {
		s.printf("%schanged: %s", prefix, strings.Join(flags, ", "))
	}
	if out.Answer && !out.ReceiptChanged {
		s.printf("%sto be answered", prefix)
	}
}

func describeRow(r Row) string {
	s := ""
	switch {
	case r.Table == TableBody:
		s = "body " + name(wire.MessageID(r.Key))
	case r.Table == TableOutbox:
		s = fmt.Sprintf("outbox %d", wire.NewReader(r.Key).Uint64())
	case r.Table == TableSeen:
		s = fmt.Sprintf("seen %d", wire.NewReader(r.Key).Uint16())
	case r.Key[0] == keyHead:
		s = "head"
	case r.Key[0] == keyReceived:
		s = "mark " + sequence(wire.NewReader(r.Key[1:]).Sequence())
	}
	if r.Value == nil {
		s = "-" + s
	}
	return s
}
