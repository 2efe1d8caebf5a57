package reliable

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gocarrier/carrier/internal/wire"
)

var rewrite = flag.Bool("rewrite", false, "write the transcripts in testdata anew")

// TestTranscripts runs the commands in testdata, the lines that begin with "$ ", and compares what they print with the
// lines below each: two machines a and b over a line, in virtual time. The commands are explained at script.run.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 16 {
		t.Fatalf("%d transcripts in testdata, want all", len(files))
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(want))
			if *rewrite {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(want) {
				t.Errorf("differs from %s (run with -rewrite and look at the changes):\n%s", file, difference(got, string(want)))
			}
		})
	}
}

// difference shows the first line that differs.
func difference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range g {
		if i >= len(w) {
			return fmt.Sprintf("line %d\n got: %s\nwant: nothing", i+1, g[i])
		}
		if g[i] != w[i] {
			return fmt.Sprintf("line %d\n got: %s\nwant: %s", i+1, g[i], w[i])
		}
	}
	return "lines are missing"
}

// play returns the transcript with the output of its commands renewed.
func play(t *testing.T, text string) string {
	var out strings.Builder
	s := &script{t: t, out: &out, window: 1 << 30}
	output := false // the lines are what a command has printed
	for l := range strings.Lines(text) {
		command, ok := strings.CutPrefix(l, "$ ")
		switch {
		case ok:
			out.WriteString(l)
			s.run(strings.Fields(command))
			output = true
		case output && strings.HasPrefix(l, "  "):
		default:
			output = false
			out.WriteString(l)
		}
	}
	return out.String()
}

type script struct {
	t      *testing.T
	out    *strings.Builder
	line   *line
	window int
	quiet  bool
	config [2]Config
}

func (s *script) printf(format string, args ...any) { fmt.Fprintf(s.out, "  "+format+"\n", args...) }

// run does one command.
//
//	window 12000           before all: bytes that may be in flight, by congestion control
//	limits a lanewindow=…  before all: fields of the Config of one end
//	line 25ms              makes the machines, joined by a line with this delay
//	run 100ms              time passes
//	quiet, loud            the events and packets that follow are not printed, or are again
//	down, up               the line loses everything, or nothing
//	mtu 1200               the line loses packets of more bytes
//	<end> <verb> …         see verb
//
// What is printed has its time in milliseconds. A packet is printed when it leaves, with its number and what becomes of
// it; what an end is told, by events and as congestion control, when it is told.
func (s *script) run(words []string) {
	switch words[0] {
	case "window":
		s.window = s.number(words[1])
	case "limits":
		c := &s.config[words[1][0]-'a']
		for _, w := range words[2:] {
			k, v, _ := strings.Cut(w, "=")
			*map[string]*int{
				"lanewindow": &c.LaneWindow, "linkwindow": &c.LinkWindow, "sendbuffer": &c.SendBuffer,
				"datagrams": &c.DatagramQueue, "lanes": &c.Lanes, "packet": &c.MaxPacket,
			}[k] = s.number(v)
		}
	case "line":
		s.start(s.duration(words[1]))
	case "run":
		s.line.run(s.duration(words[1]))
	case "quiet", "loud":
		s.quiet = words[0] == "quiet"
	case "down", "up":
		s.line.down = words[0] == "down"
	case "mtu":
		s.line.mtu = s.number(words[1])
	case "a":
		s.verb(s.line.a, words[1], words[2:])
	case "b":
		s.verb(s.line.b, words[1], words[2:])
	default:
		s.t.Fatalf("unknown command %q", words[0])
	}
}

// start makes the line.
func (s *script) start(delay time.Duration) {
	log := func(format string, args ...any) {
		if s.quiet {
			return
		}
		s.printf("%8.3f  "+format, append([]any{float64(s.line.now.Microseconds()) / 1000}, args...)...)
	}
	for i, name := range []string{"a", "b"} {
		s.config[i].RTT = 2 * delay
		s.config[i].Controller = func(Path) Controller {
			return &fixed{window: s.window, told: func(format string, args ...any) { log(name+": "+format, args...) }}
		}
	}
	s.line = newLine(s.t, delay, s.config[0], s.config[1])
	s.line.log = log
}

// verb has the program at one end do something, and what follows from it at once.
//
//	open 3                 opens 3 lanes, or one
//	write 1 5000           writes so many bytes on lane 1
//	close 1, reset 1 7, stop 1 7, weight 1 2
//	read 1 5000            reads at most so many bytes
//	greedy                 reads all that comes from now on
//	datagram 1 2 500 3     sends 3 datagrams of 500 bytes of session 1, flow 2; they are numbered in their first byte
//	datagrams              reads all that came
//	drop 3 5-7, hold 3 9ms, twice 3     what becomes of its packets with these numbers
//	says ack 5-7           sends a packet of its own making: ack, data lane offset n, ping, close code, skip (a number)
//	path 40ms              its path has changed, to one with this round trip
//	raise 1400             its path was found to carry packets of so many bytes
//	quit 7 reason          closes the link
//	state                  prints what it is at
func (s *script) verb(e *end, verb string, args []string) {
	numbers := make([]int, len(args))
	for i, a := range args {
		numbers[i], _ = strconv.Atoi(a) // 0 where it is none
	}
	lane := func() *Lane { return e.known[uint64(numbers[0])] }
	switch verb {
	case "open":
		s.open(e, max(1, append(numbers, 0)[0]))
	case "write":
		s.write(e, lane(), numbers[1])
	case "read":
		s.read(e, lane(), numbers[1])
	case "close":
		if err := lane().CloseWrite(); err != nil {
			s.printf("%v", err)
		}
	case "reset":
		lane().Reset(uint64(numbers[1]))
	case "stop":
		lane().Stop(uint64(numbers[1]))
	case "weight":
		lane().SetWeight(numbers[1])
	case "greedy":
		e.greedy = true
	case "datagram":
		for i := range numbers[3] {
			b := make([]byte, numbers[2])
			b[0] = byte(i)
			if err := e.SendDatagram(uint64(numbers[0]), uint64(numbers[1]), b); err != nil {
				s.printf("%v", err)
			}
		}
	case "datagrams":
		for session, flow, p, ok := e.ReadDatagram(); ok; session, flow, p, ok = e.ReadDatagram() {
			s.printf("%d/%d: number %d, %d bytes", session, flow, p[0], len(p))
		}
	case "drop", "hold", "twice":
		s.fate(e, verb, args)
		return // before what was written at this instant leaves
	case "says":
		s.says(e, args[0], args[1:])
	case "path":
		e.PathChanged(s.line.now, s.duration(args[0]), 0)
	case "raise":
		e.SetMaxPacket(numbers[0])
	case "quit":
		e.Close(uint64(numbers[0]), strings.Join(args[1:], " "))
	case "state":
		s.state(e)
	default:
		s.t.Fatalf("unknown verb %q", verb)
	}
	s.line.pump(e)
	s.line.events(e)
}

func (s *script) open(e *end, n int) {
	text := "lanes"
	for range n {
		l, err := e.Open()
		if err != nil {
			text += fmt.Sprintf(" (%v)", err)
			break
		}
		e.known[l.ID()] = l
		if n <= 3 {
			text += fmt.Sprintf(" %d", l.ID())
		}
	}
	s.printf("%s", text)
}

func (s *script) write(e *end, l *Lane, n int) {
	taken, err := l.Write(pattern(l.ID(), e.put[l.ID()], n))
	e.put[l.ID()] += uint64(taken)
	switch {
	case err != nil:
		s.printf("%v", err)
	case taken < n:
		s.printf("%d taken", taken)
	}
}

func (s *script) read(e *end, l *Lane, n int) {
	n, err := e.read(l.ID(), n)
	switch {
	case errors.Is(err, io.EOF):
		s.printf("end")
	case err != nil:
		s.printf("%v", err)
	default:
		s.printf("%d bytes", n)
	}
}

// fate decides what becomes of packets.
func (s *script) fate(e *end, what string, args []string) {
	var late time.Duration
	if what == "hold" {
		late = s.duration(args[len(args)-1])
		args = args[:len(args)-1]
	}
	for _, a := range args {
		from, to, ranged := strings.Cut(a, "-")
		if !ranged {
			to = from
		}
		for pn := s.number(from); pn <= s.number(to); pn++ {
			switch what {
			case "drop":
				e.drop[uint64(pn)] = true
			case "hold":
				e.hold[uint64(pn)] = late
			default:
				e.twice[uint64(pn)] = true
			}
		}
	}
}

// says sends a packet that the machine does not know of.
func (s *script) says(e *end, what string, args []string) {
	pn := e.next
	e.next++
	var b []byte
	switch what {
	case "skip":
		return
	case "ping":
		b = wire.AppendPing(b)
	case "ack":
		low, high, _ := strings.Cut(args[0], "-")
		b = wire.AppendAck(b, &wire.Ack{Ranges: []wire.AckRange{{Low: uint64(s.number(low)), High: uint64(s.number(high))}}})
	case "data":
		b = wire.AppendData(b, wire.Data{
			Lane: uint64(s.number(args[0])), Offset: uint64(s.number(args[1])), Data: make([]byte, s.number(args[2])),
		})
	case "close":
		b = wire.AppendClose(b, wire.Close{Code: uint64(s.number(args[0])), Reason: "goodbye"})
	default:
		s.t.Fatalf("unknown frame %q", what)
	}
	s.line.carry(e, pn, b)
}

// state prints what an end is at.
func (s *script) state(e *end) {
	st := e.Stats()
	s.printf("in flight %d, unread %d, unacknowledged %d, lanes %d", st.InFlight, st.Unread, st.Unacked, st.Lanes)
	if e.MaxPacket() != e.size.base {
		s.printf("packets of up to %d bytes", e.MaxPacket())
	}
	s.printf("packets: sent %d, received %d, dropped %d, lost %d, spurious %d; timeouts %d; datagrams dropped %d, unread %d",
		st.PacketsSent, st.PacketsReceived, st.PacketsDropped, st.PacketsLost, st.PacketsSpurious, st.Timeouts,
		st.DatagramsDropped, st.DatagramsUnread)
	if at := e.Timeout(); at == Never {
		s.printf("waits for nothing")
	} else {
		s.printf("waits until %.3f", float64(at.Microseconds())/1000)
	}
	if err := e.Err(); err != nil {
		s.printf("dead: %v", err)
	}
}

func (s *script) number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

func (s *script) duration(text string) time.Duration {
	d, err := time.ParseDuration(text)
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}
