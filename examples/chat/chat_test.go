package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/carriertest"
)

// TestConversation: two people, every command, and every line that answers.
func TestConversation(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		alice.do("hello?")
		alice.wait(`error: "/msg: to whom\? .*"`)
		alice.do("/friends")
		alice.wait("end")

		alice.do(`/add %s it's "me"`, bob.address)
		hello := regexp.QuoteMeta(strconv.Quote(`it's "me"`))
		bob.wait(`request: %s %s`, alice.id, hello)
		alice.do("/friends")
		alice.wait(`friends: %s pending "" none`, bob.id)
		alice.wait("end")
		bob.do("/requests")
		bob.wait(`request: %s %s`, alice.id, hello)
		bob.wait("end")
		bob.do("/refuse %s", alice.id[:5])
		alice.wait("friend: %s refused", bob.id)
		bob.do("/requests")
		bob.wait("end")
		bob.do("/refuse %s", alice.id)
		bob.wait(`error: "/refuse: .*nobody.*"`)

		befriend(alice, bob)
		alice.linked(bob)
		bob.linked(alice)
		alice.do("/friends")
		alice.wait(`friends: %s online "" direct`, bob.id)
		alice.wait("end")

		alice.do("/label %s Bobby", bob.id)
		alice.do("/friends")
		alice.wait(`friends: %s online "Bobby" direct`, bob.id)
		alice.wait("end")
		for text, line := range map[string]string{
			"plain":                                   "/msg Bobby plain",
			`"quoted" \ and é 漢字`:                     `/msg Bobb "quoted" \ and é 漢字`,
			" spaces, kept ":                          "/msg " + bob.id + "  spaces, kept ",
			"to the current friend":                   "to the current friend",
			"/me is not a command":                    "//me is not a command",
			"\x1b[31m\x00\xff\u202e":                  "/msg Bobby \x1b[31m\x00\xff\u202e",
			strings.Repeat("é", carrier.MaxMessage/2): "/msg Bobby " + strings.Repeat("é", carrier.MaxMessage/2),
		} {
			alice.do("%s", line)
			id := alice.wait(`sent: %s ([0-9a-f]{32})`, bob.id)[1]
			got := bob.wait(`message: %s %s live (".*")`, alice.id, id)[1]
			if s, err := strconv.Unquote(got); err != nil || s != text {
				t.Errorf("%.50q came as %.50s, %v", text, got, err)
			}
			alice.wait(`delivered: %s %s`, bob.id, id)
		}

		for line, says := range map[string]string{
			"/msg Bobby " + strings.Repeat("x", carrier.MaxMessage+1): `"/msg: .*too long.*"`,
			strings.Repeat("x", 1<<20):                                `"/msg: the line is longer.*"`,
			"/send Bobby " + strings.Repeat("x", 1<<20):               `"/send: the line is longer.*"`,
			"/msg Bobby":            `"/msg: it is /msg WHO TEXT"`,
			"/msg Carol hi":         `"/msg: \\"Carol\\": nobody.*"`,
			"/nope":                 `"/nope: no such command.*"`,
			"/add nonsense":         `"/add: .*not a valid address.*"`,
			"/add " + alice.address: `"/add: .*that is this node itself.*"`,
			"/accept " + bob.id:     `"/accept: .*nobody.*"`,
			"/label Bobby " + strings.Repeat("x", 300): `"/label: .*too long.*"`,
			"/remove nobody":            `"/remove: .*nobody.*"`,
			"/send Bobby /no/such/file": `"/send: .*no such file.*"`,
			"/send Bobby /":             `"/send: / is not a file"`,
		} {
			alice.do("%s", line)
			alice.wait("error: %s", says)
		}
		alice.do("/help")
		for _, v := range verbs() {
			alice.wait("help: /%s .*", v.name)
		}

		alice.do("/send Bobby %s", alice.file("a b.txt", []byte("content")))
		bob.wait(`file: %s "a b.txt" 7`, alice.id)
		bob.wait(`received: %s ".*/received/a b.txt" 7 ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73`, alice.id)
		alice.wait(`filesent: %s "a b.txt" 7 ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73`, bob.id)

		alice.do("/remove Bobby")
		alice.wait("friend: %s removed", bob.id)
		bob.wait("friend: %s removed", alice.id)
		alice.do("still there?")
		alice.wait(`error: "/msg: .*"`)
		bob.do("/msg %s still there?", alice.id)
		bob.wait(`error: "/msg: .*not a friend.*"`)
		for _, p := range []*person{alice, bob} {
			for _, once := range []string{"ready", "friend: " + alice.id + " added", "friend: " + bob.id + " added", "friend: " + alice.id + " removed", "friend: " + bob.id + " removed"} {
				if got := p.out.count(once); got > 1 {
					t.Errorf("%s has %d lines %q, want at most one", p.config.Name, got, once)
				}
			}
		}
		alice.do("/quit")
		alice.finish()
	})
}

// TestOrder: what was sent arrives in order, each once; "sent" comes in order and
// before anything else of its message.
func TestOrder(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		befriend(alice, bob)
		const many = 50
		for i := range many {
			alice.do("/msg %s from Alice %d", bob.id, i)
			bob.do("from Bob %d", i)
		}
		for _, p := range []struct{ from, to *person }{{alice, bob}, {bob, alice}} {
			var ids []string
			for i := range many {
				ids = append(ids, p.to.wait(`message: %s (\w+) live "from %s %d"`, p.from.id, p.from.config.Name, i)[1])
			}
			p.from.wait(`delivered: %s %s`, p.to.id, ids[many-1])
			var sent []string
			for _, line := range p.from.out.all() {
				f := strings.Fields(line)
				switch {
				case f[0] == "sent:":
					sent = append(sent, f[2])
				case (f[0] == "delivered:" || f[0] == "stored:") && !slices.Contains(sent, f[2]):
					t.Errorf("%q comes before its \"sent\"", line)
				}
			}
			if !slices.Equal(sent, ids) {
				t.Errorf("%s has sent %q, and %q has come", p.from.config.Name, sent, ids)
			}
			if got := p.from.out.count("delivered:"); got != many {
				t.Errorf("%s has %d lines \"delivered\", want %d", p.from.config.Name, got, many)
			}
		}
	})
}

// TestNeverTogether: messages and their receipts between two who are never there
// at the same time; what became of a message is printed at each start.
func TestNeverTogether(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		befriend(alice, bob)
		bob.quit()
		alice.wait("friend: %s offline", bob.id)
		var ids []string
		for i := range 3 {
			alice.do("/msg %s number %d", bob.id, i)
			ids = append(ids, alice.wait(`sent: %s (\w+)`, bob.id)[1])
		}
		for _, id := range ids {
			alice.wait(`stored: %s %s`, bob.id, id)
		}
		alice.do("/send %s %s", bob.id, alice.file("x", nil))
		alice.wait(`error: "/send: .*offline.*"`)
		alice.quit()

		bob.start()
		for i, id := range ids {
			bob.wait(`message: %s %s offline "number %d"`, alice.id, id, i)
		}
		bob.quit()
		for range 2 {
			alice.start()
			for _, id := range ids {
				alice.wait(`delivered: %s %s`, bob.id, id)
			}
			alice.quit()
			if got := alice.out.count("delivered:"); got != len(ids) {
				t.Errorf("%d lines \"delivered\" in one run, want %d", got, len(ids))
			}
		}
		bob.start()
		bob.wait("ready")
		bob.quit()
		if got := bob.out.count("message:"); got != 0 {
			t.Errorf("%d messages are shown again", got)
		}
	})
}

// TestFailed: a message to somebody who refuses or is removed ends so.
func TestFailed(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		alice.do("/add %s", bob.address)
		alice.do("/msg %s too early", bob.id)
		id := alice.wait(`sent: %s (\w+)`, bob.id)[1]
		bob.wait(`request: %s ""`, alice.id)
		bob.do("/refuse %s", alice.id)
		alice.wait(`failed: %s %s refused`, bob.id, id)
		alice.do("/remove %s", bob.id)
		alice.wait("friend: %s removed", bob.id)

		alice.do("/add %s again", bob.address)
		alice.do("/msg %s again too early", bob.id)
		id = alice.wait(`sent: %s (\w+)`, bob.id)[1]
		alice.do("/remove %s", bob.id)
		alice.wait(`failed: %s %s cancelled`, bob.id, id)
	})
}

// TestPrintThenConsume: a message whose line did not get out comes again at the
// next start, and first; one whose line did, does not.
func TestPrintThenConsume(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		befriend(alice, bob)
		bob.out.mu.Lock()
		bob.out.breaks = "message: "
		bob.out.mu.Unlock()
		var ids []string
		for i := range 3 {
			alice.do("/msg %s number %d", bob.id, i)
			ids = append(ids, alice.wait(`sent: %s (\w+)`, bob.id)[1])
		}
		bob.finish() // by itself, as its output is gone
		bob.start()
		for i, id := range ids {
			bob.wait(`message: %s %s (live|offline) "number %d"`, alice.id, id, i)
		}
		bob.quit()
		bob.start()
		bob.wait("ready")
		alice.do("and now")
		bob.wait(`message: .* "and now"`)
		if got := bob.out.count("message:"); got != 1 {
			t.Errorf("%d messages are shown, want the new one only", got)
		}
		bob.quit()
	})
}

// TestKill: at the moment when a message is printed, the one before it is
// consumed, and it is not itself: that is what a kill leaves.
func TestKill(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		befriend(alice, bob)
		bob.quit()
		copied := t.TempDir()
		out := newOutput()
		out.before = func(b []byte) {
			if bytes.Contains(b, []byte("number 1")) {
				err := os.CopyFS(copied, os.DirFS(bob.config.Dir))
				files, _ := filepath.Glob(filepath.Join(copied, "*")) // the pattern is right
				for _, name := range files {
					if name != filepath.Join(copied, shelfDir) {
						err = errors.Join(err, os.Chmod(name, 0o600))
					}
				}
				if err != nil {
					t.Error(err)
				}
			}
		}
		bob.startWith(out)
		bob.wait("ready")
		for i := range 2 {
			alice.do("/msg %s number %d", bob.id, i)
		}
		id := bob.wait(`message: %s (\w+) live "number 1"`, alice.id)[1]
		bob.quit()
		bob.config.Dir = copied
		bob.start()
		bob.wait(`message: %s %s live "number 1"`, alice.id, id)
		bob.wait("friend: %s online", alice.id)
		if got := bob.out.count("message:"); got != 1 {
			t.Errorf("%d messages are shown after the kill, want the last one: %q", got, bob.out.all())
		}
		bob.quit()
	})
}

// bare is a chat that is not told of any event.
func bare(t *testing.T, node *carrier.Node) (*chat, *output) {
	t.Helper()
	out := newOutput()
	return newChat(node, newScript(strings.NewReader(""), out), newShelf(t, t.TempDir()), 0), out
}

// TestFirstToKnow: what a command or a message shows of friends does not wait for
// the events, and is not shown again by them.
func TestFirstToKnow(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob := n.Node("Alice"), n.Node("Bob")
		a, aliceOut := bare(t, alice)
		b, bobOut := bare(t, bob)
		id, bobID := alice.ID(), bob.ID()
		a.do(t.Context(), "/add "+bob.Address().String())
		for len(bob.Requests()) == 0 {
			time.Sleep(time.Second)
		}
		b.do(t.Context(), "/accept "+id.String()[:6])
		b.do(t.Context(), "/msg "+id.String()+" hi")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		a.readMessages(ctx)
		a.do(t.Context(), "/remove "+bobID.String())
		a.do(t.Context(), "/friends")
		want := fmt.Sprintf("friend: %[1]s added|friend: %[1]s online|message: %[1]s |friend: %[1]s removed|end", bobID)
		if got := begins(aliceOut.all(), want); !got {
			t.Errorf("Alice is shown %q, want %q", aliceOut.all(), want)
		}
		if want := fmt.Sprintf("friend: %[1]s added|sent: %[1]s ", id); !begins(slices.DeleteFunc(bobOut.all(), func(s string) bool { return strings.HasSuffix(s, "online") }), want) {
			t.Errorf("Bob is shown %q, want %q", bobOut.all(), want)
		}

		// Events that come late, or again.
		before := len(aliceOut.all())
		a.people.became(bobID, carrier.FriendAccepted)
		a.people.became(bobID, carrier.FriendStored)
		a.people.became(bobID, carrier.FriendAccepted)
		a.people.became(bobID, carrier.FriendExpired)
		a.people.became(bobID, carrier.FriendExpired)
		a.people.became(bobID, carrier.FriendPending)
		a.people.became(bobID, carrier.FriendRefused)
		r := carrier.FriendRequest{ID: bobID, Hello: "one", Time: time.Now()}
		a.people.asked(r)
		a.people.asked(r)
		r.Hello = "two"
		a.people.asked(r)
		a.people.answered(bobID)
		a.people.asked(r)
		want = fmt.Sprintf(`friend: %[1]s added|error: "/add: %[1]s has not answered|friend: %[1]s refused|request: %[1]s "one"|request: %[1]s "two"|request: %[1]s "two"`, bobID)
		if got := aliceOut.all()[before:]; !begins(got, want) {
			t.Errorf("Alice is shown %q, want %q", got, want)
		}
	})
}

// begins reports whether lines begin with the parts of want, one each.
func begins(lines []string, want string) bool {
	parts := strings.Split(want, "|")
	return slices.EqualFunc(lines, parts, strings.HasPrefix)
}

// TestLagged: an output that is not read for a while hides nothing but what is
// over: the state is shown anew.
func TestLagged(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob, carol := newPerson(t, n, "Alice"), newPerson(t, n, "Bob"), newPerson(t, n, "Carol")
		befriend(alice, bob)
		alice.quit()
		alice.config.EventQueue = 4
		alice.start()
		alice.wait("friend: %s online", bob.id)
		bob.quit()
		alice.wait("friend: %s offline", bob.id)
		const many = 20
		var ids []string
		for i := range many {
			alice.do("/msg %s %d", bob.id, i)
			ids = append(ids, alice.wait(`sent: %s (\w+)`, bob.id)[1])
		}
		alice.wait(`stored: %s %s`, bob.id, ids[0])
		alice.out.hold()
		bob.start()
		for _, id := range ids {
			bob.wait(`message: %s %s .*`, alice.id, id)
		}
		carol.do("/add %s hi", alice.address)
		time.Sleep(time.Minute)
		alice.out.release()
		alice.wait(`request: %s "hi"`, carol.id)
		for _, id := range ids {
			line := fmt.Sprintf("delivered: %s %s", bob.id, id)
			alice.wait("%s", line)
			if got := alice.out.count(line); got != 1 {
				t.Errorf("%d lines %q, want one", got, line)
			}
		}
		if got := alice.out.count(fmt.Sprintf("friend: %s online", bob.id)); got != 2 {
			t.Errorf("Bob has come online %d times, want twice", got)
		}
	})
}

// TestStuckOutput: an output that nobody reads does not keep the chat from its
// end.
func TestStuckOutput(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		befriend(alice, bob)
		bob.out.hold()
		defer bob.out.release()
		alice.do("/msg %s hi", bob.id)
		id := alice.wait(`sent: %s (\w+)`, bob.id)[1]
		alice.wait(`delivered: %s %s`, bob.id, id)
		time.Sleep(time.Second)
		bob.quit()
	})
}

// TestNodeFails: the chat ends with the error of its node.
func TestNodeFails(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice := newPerson(t, n, "Alice")
		if err := alice.node.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-alice.ended; err == nil {
			t.Error("a chat whose node is gone ends without an error")
		}
		alice.over = true
		alice.in.Close()
	})
}

// TestPanic: a panic gives the terminal back before it ends the program.
func TestPanic(t *testing.T) {
	f := &closing{}
	c := &chat{front: f}
	func() {
		defer func() {
			if p := recover(); p != "oh" {
				t.Errorf("the panic has become %v", p)
			}
		}()
		defer c.rescue()
		panic("oh")
	}()
	if !f.closed {
		t.Error("the front was not closed")
	}
}

type closing struct {
	front
	closed bool
}

func (c *closing) close() { c.closed = true }

// TestSignal: the end of the context is /quit.
func TestSignal(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		node := n.Node("Alice")
		ctx, stop := context.WithCancelCause(t.Context())
		out := newOutput()
		read := make(blocked)
		c := newChat(node, newScript(read, out), newShelf(t, t.TempDir()), 0)
		released := false
		c.release = func() { released = true }
		time.AfterFunc(time.Second, func() { stop(fmt.Errorf("a signal")) })
		if err := c.run(ctx); err != nil || !released {
			t.Errorf("the chat ends with %v, signals given back: %v", err, released)
		}
		close(read)
	})
}

// blocked is an input that never says anything until it is closed.
type blocked chan struct{}

func (b blocked) Read([]byte) (int, error) { <-b; return 0, context.Canceled }
