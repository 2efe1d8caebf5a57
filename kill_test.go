package carrier_test

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gocarrier/carrier"
)

var (
	killSeed = flag.Uint64("kill-seed", 0, "seed of TestKill; 0: by the clock")
	kills    = flag.Int("kills", 20, "how often TestKill kills; a quarter of it with -short")
)

const (
	killChildVar = "CARRIER_KILL_CHILD" // set in a child: its name
	killPause    = 4 * time.Millisecond // between two messages of a child
	killDrain    = 20 * time.Second     // all must have arrived so long after the last kill
	killSettle   = 50                   // from so many kills on the second nodes must come to agree,
	killSettled  = time.Minute          // which needs new requests, so that it takes longer
)

// TestKill kills either of two nodes, each a process of its own with real files
// and sockets, at random points while both send and receive, and starts it
// again. Afterwards nothing that Send acknowledged may be missing, nothing may
// have been stored twice, repeats must have the same ID, and order must hold. A
// second node in each process asks, answers and removes all the time, as
// killFriend says: what these acts acknowledged must stand, too, and after many
// kills the two must agree that they are friends.
func TestKill(t *testing.T) {
	if name := os.Getenv(killChildVar); name != "" {
		if err := killChild(name); err != nil {
			t.Fatalf("child %s: %v", name, err)
		}
		return
	}
	t.Parallel() // it mostly waits
	seed := *killSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	n := *kills
	if testing.Short() {
		n = max(n/4, 1)
	}
	if err := killStory(t, seed, n); err != nil {
		t.Fatalf("%v\nthe same choices again: go test -run TestKill -kill-seed %d .", err, seed)
	}
}

func killStory(t *testing.T, seed uint64, kills int) error {
	start := time.Now()
	random := rand.New(rand.NewPCG(seed, 0))
	routers := strings.Join(loopbackDHT(t, 8), ",")
	dir := t.TempDir()
	people := []*victim{newVictim("alice", dir, routers), newVictim("bob", dir, routers)}
	alice, bob := people[0], people[1]
	defer func() {
		for _, v := range people {
			v.kill()
		}
	}()
	if err := bob.start(); err != nil {
		return err
	}
	alice.peer = bob.second
	if err := alice.start(); err != nil {
		return err
	}
	alice.say("add " + bob.address)
	for _, v := range people {
		if err := v.await("friends", 15*time.Second); err != nil {
			return err
		}
	}
	if err := bob.await(killSecond+"accept ", 15*time.Second); err != nil {
		return err
	}
	met := time.Now()
	for i := range kills {
		v := people[random.IntN(2)]
		both := random.IntN(5) == 0
		// By what it does, so that a kill falls within an act, or by time.
		switch random.IntN(3) {
		case 0:
			v.awaitLines("", 1+random.IntN(200), time.Second)
		case 1:
			v.awaitLines(killSecond, 1+random.IntN(4), 300*time.Millisecond)
		case 2:
			time.Sleep(time.Duration(random.IntN(500)) * time.Millisecond)
		}
		for _, w := range people {
			if w == v || both {
				w.kill()
			}
		}
		for _, w := range people {
			if w == v || both {
				if err := w.start(); err != nil {
					return fmt.Errorf("after kill %d of %d: %w", i+1, kills, err)
				}
			}
		}
	}
	killing := time.Since(met)
	for _, v := range people {
		v.say("drain")
	}
	begun := time.Now()
	for _, v := range people {
		if err := v.await("drained", killDrain-time.Since(begun)); err != nil {
			return err
		}
	}
	took := time.Since(begun)
	// All has been stored by now; the last may not have been shown yet.
	ways := [][2]*victim{{alice, bob}, {bob, alice}}
	for _, way := range ways {
		for time.Since(begun) < killDrain {
			if _, err := judge(way[0].lines(), way[1].lines()); err == nil {
				break // else it is judged for good below
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	for _, v := range people {
		if kills < killSettle {
			break
		}
		if err := v.await(killSecond+"settled", killSettled-time.Since(begun)); err != nil {
			return err
		}
		t.Logf("%s: friends for good %.1f s after the last", v.name, time.Since(begun).Seconds())
	}
	for _, v := range people {
		v.say("quit")
		if err := v.wait(15 * time.Second); err != nil {
			return err
		}
	}
	for _, way := range ways {
		sum, err := judge(way[0].lines(), way[1].lines())
		if err != nil {
			return fmt.Errorf("%s → %s: %w", way[0].name, way[1].name, err)
		}
		t.Logf("%s → %s: %s", way[0].name, way[1].name, sum)
	}
	sum, err := judgeFriends(alice.secondLines(), bob.secondLines())
	if err != nil {
		return err
	}
	t.Logf("alice asks bob: %s", sum)
	// All was consumed: what comes in one more life had been stored twice.
	for _, v := range people {
		v.mute = "yes"
		if err := v.start(); err != nil {
			return err
		}
		time.Sleep(100 * time.Millisecond)
		v.kill()
		lines := v.lines()
		for i := len(lines) - 1; lines[i] != "life"; i-- {
			if strings.HasPrefix(lines[i], "got ") {
				return fmt.Errorf("%s is shown %q again, although all was consumed", v.name, lines[i])
			}
		}
	}
	t.Logf("seed %d: %d kills in %.1f s, all arrived %.1f s after the last; friends after %.1f s, %.1f s in all",
		seed, kills, killing.Seconds(), took.Seconds(), met.Sub(start).Seconds(), time.Since(start).Seconds())
	return nil
}

// judge compares what a sender has noted with what a receiver has, over all of
// their lives. Notes of a sender: "try n", "sent n id". Of a receiver: "life"
// at each start, "got n id" for each message shown, "done n" when its Done has
// returned. n counts the tries of a sender over all of its lives.
func judge(sender, receiver []string) (string, error) {
	tried, acked := 0, map[int]string{}
	for _, line := range sender {
		var n int
		var id string
		if _, err := fmt.Sscanf(line, "try %d", &n); err == nil {
			tried = max(tried, n)
		}
		if _, err := fmt.Sscanf(line, "sent %d %s", &n, &id); err == nil {
			acked[n] = id
		}
	}
	var (
		ids     = map[int]string{} // of what was shown
		numbers = map[string]int{}
		done    = map[int]bool{}
		highest int // shown ever
		last    int // shown in this life
		repeats int
	)
	for _, line := range receiver {
		var n int
		var id string
		if line == "life" {
			last = 0
			continue
		}
		if _, err := fmt.Sscanf(line, "done %d", &n); err == nil {
			done[n] = true
			continue
		}
		if _, err := fmt.Sscanf(line, "got %d %s", &n, &id); err != nil {
			continue
		}
		was, again := ids[n]
		switch {
		case n < 1 || n > tried:
			return "", fmt.Errorf("message %d was shown and never sent", n)
		case n <= last:
			return "", fmt.Errorf("message %d was shown after %d in one life: stored twice, or out of order", n, last)
		case again && was != id:
			return "", fmt.Errorf("message %d was shown as %s and again as %s", n, was, id)
		case done[n]:
			return "", fmt.Errorf("message %d was shown again after its Done: stored twice", n)
		case !again && n < highest:
			return "", fmt.Errorf("message %d was first shown after %d: out of order", n, highest)
		}
		if other, ok := numbers[id]; ok && other != n {
			return "", fmt.Errorf("messages %d and %d have one ID, %s", other, n, id)
		}
		if sent, ok := acked[n]; ok && sent != id {
			return "", fmt.Errorf("message %d was sent as %s and shown as %s", n, sent, id)
		}
		if again {
			repeats++
		}
		ids[n], numbers[id] = id, n
		last, highest = n, max(highest, n)
	}
	lost := 0
	for n := range acked {
		if _, ok := ids[n]; !ok {
			lost++
		}
	}
	if lost > 0 {
		return "", fmt.Errorf("%d of %d acknowledged messages were never shown", lost, len(acked))
	}
	if len(acked) == 0 || len(done) == 0 {
		return "", fmt.Errorf("%d messages acknowledged, %d done: nothing was tried", len(acked), len(done))
	}
	return fmt.Sprintf("%d tried, %d acknowledged, %d shown, %d shown again after a crash", tried, len(acked), len(ids), repeats), nil
}

// TestKillJudge shows that judge finds each fault that it is there for.
func TestKillJudge(t *testing.T) {
	sender := []string{"try 1", "sent 1 a", "try 2", "sent 2 b", "try 3", "try 4", "sent 4 d"}
	for _, test := range []struct{ name, receiver, want string }{
		{"sound", "life,got 1 a,done 1,got 2 b,life,got 2 b,got 4 d", ""},
		{"an unacknowledged one arrives", "life,got 1 a,done 1,got 2 b,got 3 c,got 4 d", ""},
		{"lost", "life,got 1 a,done 1,got 4 d", "never shown"},
		{"twice in one life", "life,got 1 a,done 1,got 2 b,got 2 b,got 4 d", "in one life"},
		{"again after Done", "life,got 1 a,done 1,got 2 b,life,got 1 a,got 4 d", "after its Done"},
		{"order", "life,got 1 a,done 1,got 4 d,life,got 2 b", "out of order"},
		{"another ID", "life,got 1 a,done 1,got 2 b,life,got 2 x,got 4 d", "again as"},
		{"not the ID of Send", "life,got 1 a,done 1,got 2 x,got 4 d", "shown as"},
		{"one ID for two", "life,got 1 a,done 1,got 2 b,got 3 b,got 4 d", "have one ID"},
		{"invented", "life,got 1 a,done 1,got 2 b,got 4 d,got 9 z", "never sent"},
		{"nothing done", "life,got 1 a,got 2 b,got 4 d", "nothing was tried"},
	} {
		_, err := judge(sender, strings.Split(test.receiver, ","))
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", test.name, err, test.want)
		}
	}
}

// victim is one person whose process is killed now and then.
type victim struct {
	name, dir, routers string
	address            string
	second, peer       string // addresses of its second node, and of the one that this asks; empty: it answers
	mute               string // not empty: the next life sends nothing, and has no second node

	process *exec.Cmd
	stdin   io.WriteCloser
	ended   chan struct{} // closed when the output of this life has been read to its end

	mu      sync.Mutex
	notes   []string // of all lives
	arrived chan struct{}
}

func newVictim(name, dir, routers string) *victim {
	return &victim{name: name, dir: filepath.Join(dir, name), routers: routers, arrived: make(chan struct{})}
}

// start begins a life. The child learns where its count stands, for a number
// must not be used again even if nothing is known of how its Send ended.
func (v *victim) start() error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	tried, asked := 0, 0
	for _, line := range v.lines() {
		if n, ok := strings.CutPrefix(line, "try "); ok {
			if tried, err = strconv.Atoi(n); err != nil {
				return err
			}
		}
		if n, ok := strings.CutPrefix(line, killSecond+"try ask "); ok {
			if asked, err = strconv.Atoi(n); err != nil {
				return err
			}
		}
	}
	v.process = exec.Command(program, "-test.run=^TestKill$", "-test.timeout=120s")
	v.process.Env = append(os.Environ(),
		killChildVar+"="+v.name, "CARRIER_KILL_DIR="+v.dir,
		"CARRIER_KILL_ROUTERS="+v.routers, "CARRIER_KILL_TRIED="+strconv.Itoa(tried), "CARRIER_KILL_MUTE="+v.mute,
		"CARRIER_KILL_PEER="+v.peer, "CARRIER_KILL_ASKED="+strconv.Itoa(asked))
	v.process.Stderr = os.Stderr
	if v.stdin, err = v.process.StdinPipe(); err != nil {
		return err
	}
	out, err := v.process.StdoutPipe()
	if err != nil {
		return err
	}
	if err := v.process.Start(); err != nil {
		return err
	}
	v.ended = make(chan struct{})
	v.note("life")
	go func() {
		defer close(v.ended)
		r := bufio.NewReader(out)
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return // a line cut short by the kill says nothing
			}
			v.note(strings.TrimSuffix(line, "\n"))
		}
	}()
	return v.await("address", 15*time.Second)
}

func (v *victim) note(line string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if a, ok := strings.CutPrefix(line, "address "); ok {
		v.address = a
	}
	if a, ok := strings.CutPrefix(line, killSecond+"address "); ok {
		v.second = a
	}
	v.notes = append(v.notes, line)
	close(v.arrived)
	v.arrived = make(chan struct{})
}

func (v *victim) lines() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return append([]string(nil), v.notes...)
}

// secondLines are the notes of its second node, over all lives.
func (v *victim) secondLines() (lines []string) {
	for _, line := range v.lines() {
		if line, ok := strings.CutPrefix(line, killSecond); ok {
			lines = append(lines, line)
		}
	}
	return lines
}

func (v *victim) say(command string) { _, _ = io.WriteString(v.stdin, command+"\n") } // a dead child is noticed by its notes

// await waits for a line of this life that begins so.
func (v *victim) await(begin string, limit time.Duration) error {
	timeout := time.After(limit)
	for {
		v.mu.Lock()
		arrived := v.arrived
		for i := len(v.notes) - 1; i >= 0 && v.notes[i] != "life"; i-- {
			if strings.HasPrefix(v.notes[i], begin) {
				v.mu.Unlock()
				return nil
			}
		}
		v.mu.Unlock()
		select {
		case <-arrived:
		case <-v.ended:
			return fmt.Errorf("%s has ended by itself while %q was awaited", v.name, begin)
		case <-timeout:
			return fmt.Errorf("%s has not come to %q within %v; its last notes are %q", v.name, begin, limit, v.last(5))
		}
	}
}

func (v *victim) last(n int) []string {
	lines := v.lines()
	return lines[max(len(lines)-n, 0):]
}

// awaitLines waits until so many more lines that begin so have come, or for a
// while.
func (v *victim) awaitLines(begin string, n int, limit time.Duration) {
	timeout := time.After(limit)
	for read := len(v.lines()); ; {
		v.mu.Lock()
		arrived, fresh := v.arrived, v.notes[read:]
		read = len(v.notes)
		v.mu.Unlock()
		for _, line := range fresh {
			if strings.HasPrefix(line, begin) {
				n--
			}
		}
		if n <= 0 {
			return
		}
		select {
		case <-arrived:
		case <-timeout:
			return
		}
	}
}

// kill ends a life by SIGKILL and reads what it still has written.
func (v *victim) kill() {
	if v.process == nil {
		return
	}
	_ = v.process.Process.Kill()
	<-v.ended
	_ = v.process.Wait()
	v.process = nil
}

// wait waits for a life to end by itself, well.
func (v *victim) wait(limit time.Duration) error {
	select {
	case <-v.ended:
	case <-time.After(limit):
		return fmt.Errorf("%s does not end", v.name)
	}
	err := v.process.Wait()
	v.process = nil
	return err
}

// killChild is the process of one person. It accepts every request, sends to
// its only friend without end, and notes on stdout, unbuffered, what it does.
func killChild(name string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	tried, err := strconv.Atoi(os.Getenv("CARRIER_KILL_TRIED"))
	if err != nil {
		return err
	}
	var mu sync.Mutex
	note := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(os.Stdout, "%s\n", fmt.Sprintf(format, args...))
	}
	node, err := carrier.Start(ctx, carrier.Config{
		Dir: os.Getenv("CARRIER_KILL_DIR"), Name: name, Listen: "127.0.0.1:0",
		Bootstrap: strings.Split(os.Getenv("CARRIER_KILL_ROUTERS"), ","),
	})
	if err != nil {
		return err
	}
	defer node.Close()
	errs := make(chan error, 8)
	var last atomic.Pointer[carrier.Message]
	go func() { errs <- killRead(ctx, node, &last, note) }()
	drain, drained := make(chan struct{}), make(chan struct{})
	if os.Getenv("CARRIER_KILL_MUTE") == "" {
		second, err := newKillFriend(ctx, name, drain, note)
		if err != nil {
			return err
		}
		defer second.node.Close()
		go func() { errs <- second.run(ctx) }()
	}
	friends := make(chan *carrier.Friend, 1)
	go func() {
		for ev := range node.Events(ctx) {
			switch ev := ev.(type) {
			case carrier.FriendRequest:
				if _, err := node.Accept(ev.ID); err != nil {
					errs <- err
				}
			case carrier.FriendChanged:
				if ev.State == carrier.FriendAccepted {
					select {
					case friends <- ev.Friend:
					default:
					}
				}
			}
		}
	}()
	go func() {
		friend := <-friends
		note("friends")
		if os.Getenv("CARRIER_KILL_MUTE") != "" {
			return
		}
		for n := tried + 1; ; n++ {
			select {
			case <-drain:
				for _, msg := range node.Outbox() {
					if err := msg.WaitDelivered(ctx); err != nil {
						errs <- err
						return
					}
				}
				note("drained")
				close(drained)
				return
			case <-time.After(killPause):
			}
			note("try %d", n)
			msg, err := friend.Send(ctx, []byte(strconv.Itoa(n)), nil)
			if err != nil {
				errs <- err
				return
			}
			note("sent %d %s", n, msg.ID())
		}
	}()
	note("address %s", node.Address())
	quit := make(chan struct{})
	go func() {
		defer close(quit) // also when the parent has gone
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			command, rest, _ := strings.Cut(in.Text(), " ")
			switch command {
			case "add":
				to, err := carrier.ParseAddress(rest)
				if err == nil {
					_, err = node.AddFriend(ctx, to, "")
				}
				if err != nil {
					errs <- err
				}
			case "drain":
				close(drain)
			case "quit":
				<-drained
				return
			}
		}
	}()
	select {
	case err := <-errs:
		return err
	case <-quit:
		// What the loop has consumed is committed a little later, or by a Done.
		if msg := last.Load(); msg != nil {
			return msg.Done()
		}
		return nil
	}
}

// killRead shows what comes: most is consumed by the loop, every fifth by Done.
func killRead(ctx context.Context, node *carrier.Node, last *atomic.Pointer[carrier.Message], note func(string, ...any)) error {
	for msg, err := range node.Messages(ctx) {
		if err != nil {
			return err
		}
		last.Store(msg)
		note("got %s %s", msg.Body(), msg.ID())
		if n, err := strconv.Atoi(string(msg.Body())); err == nil && n%5 == 0 {
			if err := msg.Done(); err != nil {
				return err
			}
			note("done %d", n)
		}
	}
	return nil
}
