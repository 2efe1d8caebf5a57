package carrier_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gocarrier/carrier"
)

// killSecond begins the notes of a child's second node.
const killSecond = "second: "

// killFriend is the second node of a child of TestKill. At one end it asks the
// other to be its friend, removes it, before it is accepted more often than not,
// and asks again, without end; at the other it
// accepts or refuses, and at times removes. It goes on from wherever the state
// directory stands, and notes "stands s" at each start, s being the friend's state
// or none, "try act" before each act and "act" when that has returned. When drain
// is closed they become friends for good, and note "settled".
type killFriend struct {
	node  *carrier.Node
	note  func(string, ...any)
	drain <-chan struct{}
}

func newKillFriend(ctx context.Context, name string, drain <-chan struct{}, note func(string, ...any)) (*killFriend, error) {
	node, err := carrier.Start(ctx, carrier.Config{
		Dir: filepath.Join(os.Getenv("CARRIER_KILL_DIR"), "second"), Name: name, Listen: "127.0.0.1:0",
		Bootstrap: strings.Split(os.Getenv("CARRIER_KILL_ROUTERS"), ","),
	})
	if err != nil {
		return nil, err
	}
	k := &killFriend{node: node, drain: drain, note: func(format string, args ...any) { note(killSecond+format, args...) }}
	k.note("stands %s", k.state())
	k.note("address %s", node.Address())
	return k, nil
}

// run returns an error, or when ctx ends.
func (k *killFriend) run(ctx context.Context) error {
	if peer := os.Getenv("CARRIER_KILL_PEER"); peer != "" {
		return k.ask(ctx, peer)
	}
	return k.answer(ctx)
}

// friend is the only one there is; nil: there is none.
func (k *killFriend) friend() *carrier.Friend {
	for _, f := range k.node.Friends() {
		return f
	}
	return nil
}

func (k *killFriend) state() string {
	if f := k.friend(); f != nil {
		return f.State().String()
	}
	return "none"
}

func (k *killFriend) draining() bool {
	select {
	case <-k.drain:
		return true
	default:
		return false
	}
}

// act notes what is about to be done, does it, and notes that it is done.
func (k *killFriend) act(what string, act func() error) error {
	k.note("try %s", what)
	if err := act(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	k.note("%s", what)
	return nil
}

const (
	killLook = 10 * time.Millisecond  // how often a friend's state is looked at
	killWait = 100 * time.Millisecond // the most that a request or a friendship is left alone,
	// killPatience is for how many looks one in four requests is left, on average:
	// long enough for an answer between two kills. The very first is left for good.
	killPatience = 200
)

// ask is the end that asks.
func (k *killFriend) ask(ctx context.Context, peer string) error {
	to, err := carrier.ParseAddress(peer)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(os.Getenv("CARRIER_KILL_ASKED"))
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		f := k.friend()
		switch {
		case f == nil || f.State() == carrier.FriendRefused || f.State() == carrier.FriendRemoved:
			n++
			hello := "ask " + strconv.Itoa(n)
			err = k.act(hello, func() error { _, err := k.node.AddFriend(ctx, to, hello); return err })
		case f.State() == carrier.FriendAccepted && k.draining():
			msg, err := f.Send(ctx, []byte("friends for good"), nil)
			if err == nil {
				err = msg.WaitDelivered(ctx)
			}
			if err == nil {
				k.note("settled")
				<-ctx.Done()
				return nil
			}
			if !errors.Is(err, carrier.ErrRefused) && !errors.Is(err, carrier.ErrNotFriend) {
				return err
			}
		case f.State() == carrier.FriendAccepted, !k.draining() && (n%4 != 1 || n > 1 && rand.N(killPatience) == 0):
			time.Sleep(rand.N(killWait))
			err = k.act("remove", f.Remove)
		}
		if err != nil {
			return err
		}
		time.Sleep(killLook)
	}
	return nil
}

// answer is the end that is asked.
func (k *killFriend) answer(ctx context.Context) error {
	go func() {
		for msg, err := range k.node.Messages(ctx) {
			if err != nil {
				return
			}
			if string(msg.Body()) == "friends for good" {
				k.note("settled")
			}
		}
	}()
	for ctx.Err() == nil {
		for _, r := range k.node.Requests() {
			k.note("request %s", r.Hello)
			answer, act := "accept ", func() error { _, err := k.node.Accept(r.ID); return err }
			if n, _ := strconv.Atoi(strings.TrimPrefix(r.Hello, "ask ")); n%8 == 5 && !k.draining() {
				answer, act = "refuse ", func() error { return k.node.Refuse(r.ID) }
			}
			if err := k.act(answer+r.Hello, act); err != nil {
				return err
			}
		}
		if f := k.friend(); f != nil && f.State() == carrier.FriendAccepted && rand.N(20) == 0 && !k.draining() {
			if err := k.act("remove", f.Remove); err != nil {
				return err
			}
		}
		time.Sleep(killLook)
	}
	return nil
}

// judgeFriends holds what either end has noted over all its lives: what an act
// that has returned has done stands at the next start, and a request that was
// answered is not shown again.
func judgeFriends(asker, answerer []string) (string, error) {
	asks, lives, err := judgeStands(asker)
	if err != nil {
		return "", fmt.Errorf("who asks: %w", err)
	}
	answers, more, err := judgeStands(answerer)
	if err != nil {
		return "", fmt.Errorf("who is asked: %w", err)
	}
	answered := map[string]bool{}
	for _, line := range answerer {
		if hello, ok := strings.CutPrefix(line, "request "); ok {
			if answered[hello] {
				return "", fmt.Errorf("the request %q was shown again after its answer", hello)
			}
			if asks["try "+hello] == 0 {
				return "", fmt.Errorf("the request %q was never sent", hello)
			}
		}
		if answer, hello, ok := strings.Cut(line, " "); ok && (answer == "accept" || answer == "refuse") {
			answered[hello] = true
		}
	}
	sum := fmt.Sprintf("%d asked, %d accepted, %d refused, %d removed by who asks and %d by who is asked; %d starts judged",
		count(asks, "ask "), count(answers, "accept "), count(answers, "refuse "), asks["remove"], answers["remove"], lives+more)
	if count(asks, "ask ") == 0 || count(answers, "accept ") == 0 || lives+more == 0 {
		return "", errors.New(sum + ": nothing was tried")
	}
	return sum, nil
}

func count(acts map[string]int, begin string) (n int) {
	for act, times := range acts {
		if strings.HasPrefix(act, begin) {
			n += times
		}
	}
	return n
}

// judgeStands counts what one end has noted, and the starts at which it was clear
// what must stand.
func judgeStands(notes []string) (acts map[string]int, lives int, err error) {
	acts = map[string]int{}
	last, sure := "", false // the act that has returned last; no other was begun since
	for _, line := range notes {
		acts[line]++
		verb, _, _ := strings.Cut(line, " ")
		switch verb {
		case "try":
			sure = false
		case "ask", "accept", "refuse", "remove":
			last, sure = verb, true
		case "stands":
			state := strings.TrimPrefix(line, "stands ")
			if !sure {
				continue
			}
			lives++
			if may := killStands[last]; !strings.Contains(may, " "+state+" ") {
				return nil, 0, fmt.Errorf("it stands as %s after %q had returned, want one of%s", state, last, may)
			}
		}
	}
	return acts, lives, nil
}

// killStands are the states that an act may have led to by itself or by what the
// other end has done since.
var killStands = map[string]string{
	"ask":    " pending stored accepted refused removed ",
	"accept": " accepted removed ",
	"refuse": " none removed ",
	"remove": " none ",
}

// TestKillFriendsJudge shows that judgeFriends finds each fault that it is there
// for.
func TestKillFriendsJudge(t *testing.T) {
	for _, test := range []struct{ name, asker, answerer, want string }{
		{"sound", "stands none,try ask 1,ask 1,stands pending,try remove,remove,stands none,try ask 2", "stands none,request ask 1,try accept ask 1,stands none,request ask 1,try accept ask 1,accept ask 1,stands accepted", ""},
		{"an ask is lost", "try ask 1,ask 1,stands none", "request ask 1,try accept ask 1,accept ask 1", "stands as none"},
		{"a removal is lost", "try ask 1,ask 1,try remove,remove,stands accepted", "request ask 1,try accept ask 1,accept ask 1", "stands as accepted"},
		{"an acceptance is lost", "try ask 1,ask 1", "request ask 1,try accept ask 1,accept ask 1,stands none", "stands as none"},
		{"a refusal is lost", "try ask 1,ask 1", "request ask 1,try refuse ask 1,refuse ask 1,stands accepted", "stands as accepted"},
		{"an answered one is shown again", "try ask 1,ask 1", "request ask 1,try accept ask 1,accept ask 1,stands accepted,request ask 1", "shown again"},
		{"an invented one", "try ask 1,ask 1", "request ask 7", "never sent"},
		{"nothing", "stands none", "stands none", "nothing was tried"},
	} {
		_, err := judgeFriends(strings.Split(test.asker, ","), strings.Split(test.answerer, ","))
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", test.name, err, test.want)
		}
	}
}
