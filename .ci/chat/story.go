package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// story is what two people do with the chat, from the first request to the end.
func story(l *lab) error {
	if err := l.bootstrap(); err != nil {
		return err
	}
	c := &couple{}
	var err error
	if c.alice, err = l.person("Alice", "-max-file", fmt.Sprint(smallFile)); err != nil {
		return err
	}
	if c.bob, err = l.person("Bob"); err != nil {
		return err
	}
	for _, step := range []func(*lab, *couple) error{
		meet, fiftyEach, commands, wrongCommands, texts, files, refused, offline, removed, alone,
	} {
		if err := step(l, c); err != nil {
			return err
		}
	}
	return nil
}

// meet takes the two from their start to being friends online.
func meet(l *lab, c *couple) error {
	begun := time.Now()
	for _, a := range []*actor{c.alice, c.bob} {
		if err := a.start(); err != nil {
			return err
		}
		if err := a.tell("/me"); err != nil { // before it is ready
			return err
		}
	}
	for _, a := range []*actor{c.alice, c.bob} {
		if _, err := a.await(0, soon, "address"); err != nil {
			return err
		}
		if _, err := a.await(0, netLimit, "ready"); err != nil {
			return err
		}
	}
	l.say("both are ready after %.2f s", time.Since(begun).Seconds())

	const hello = `hi "Bob", it's Alice ✓`
	var address string
	var err error
	if c.aliceID, _, err = me(c.alice); err != nil {
		return err
	}
	if c.bobID, address, err = me(c.bob); err != nil {
		return err
	}
	begun = time.Now()
	fromAlice, fromBob := c.alice.mark(), c.bob.mark()
	if err := c.alice.tell("/add %s %s", address, hello); err != nil {
		return err
	}
	if _, err := c.bob.await(fromBob, netLimit, "request", c.aliceID, hello); err != nil {
		return err
	}
	asked := time.Since(begun)
	if err := lists(c.alice, "/friends", []string{"friends", c.bobID, "pending"}); err != nil {
		return err
	}
	if err := lists(c.bob, "/requests", []string{"request", c.aliceID, hello}); err != nil {
		return err
	}
	if _, err := c.bob.ask("/accept "+c.aliceID[:10], soon, "friend", c.aliceID, "added"); err != nil {
		return err
	}
	if _, err := c.alice.await(fromAlice, netLimit, "friend", c.bobID, "added"); err != nil {
		return err
	}
	friends := time.Since(begun)
	if err := c.online(fromAlice, fromBob); err != nil {
		return err
	}
	l.say("a request takes %.2f s, friendship %.2f s, both online %.2f s", asked.Seconds(), friends.Seconds(), time.Since(begun).Seconds())
	return lists(c.bob, "/requests")
}

// lists asks for a list and compares how its entries begin.
func lists(a *actor, command string, want ...[]string) error {
	from := a.mark()
	if _, err := a.ask(command, soon, "end"); err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	kind := strings.TrimPrefix(command, "/")
	if kind == "requests" {
		kind = "request"
	}
	var got []line
	for _, l := range a.record(from) {
		if l.from == said && l.kind == "end" {
			break
		}
		if l.from == said && l.kind == kind {
			got = append(got, l)
		}
	}
	if len(got) != len(want) {
		return fmt.Errorf("%s: %s lists %d, want %d: %v", a.name, command, len(got), len(want), want)
	}
	for i, w := range want {
		if !slices.ContainsFunc(got, func(l line) bool { return l.is(w[0], w[1:]...) }) {
			return fmt.Errorf("%s: %s does not list %q; entry %d is %q", a.name, command, w, i, got[i].text)
		}
	}
	return nil
}

// fiftyEach has both send 50 messages at once.
func fiftyEach(l *lab, c *couple) error {
	const each = 50
	begun := time.Now()
	there, back := newTalk(c.alice, c.bob, c.aliceID, c.bobID), newTalk(c.bob, c.alice, c.bobID, c.aliceID)
	for i := range each {
		if err := errors.Join(there.send("there %d %s", i, l.padding()), back.send("back %d %s", i, l.padding())); err != nil {
			return err
		}
	}
	for _, t := range []*talk{there, back} {
		if _, err := t.settle(netLimit, false); err != nil {
			return err
		}
	}
	l.say("%d messages each way, in order and delivered, in %.2f s", each, time.Since(begun).Seconds())
	return nil
}

// commands gives what no other step does.
func commands(l *lab, c *couple) error {
	if _, err := c.alice.ask("/help", soon, "help"); err != nil {
		return err
	}
	const label = "Bob of \"next door\""
	if err := c.alice.tell("/label %s %s", c.bobID[:8], label); err != nil {
		return err
	}
	if err := lists(c.alice, "/friends", []string{"friends", c.bobID, "online", label}); err != nil {
		return err
	}
	e, err := c.alice.ask("/friends", soon, "friends", c.bobID)
	if err != nil {
		return err
	}
	if path := e.fields[3]; path != "lan" && path != "direct" {
		return fmt.Errorf("on one machine the path is %q", path)
	}
	if err := c.alice.tell("/label %s bobby", c.bobID); err != nil {
		return err
	}
	if err := lists(c.alice, "/friends", []string{"friends", c.bobID, "online", "bobby"}); err != nil {
		return err
	}
	// WHO is a label, an ID, or the beginning of one; and there is the current friend.
	for _, command := range []string{"/msg bobby by label", "/msg " + c.bobID + " by ID", "/msg " + c.bobID[:6] + " by prefix", "to the current friend"} {
		from := c.bob.mark()
		sent, err := c.alice.ask(command, soon, "sent", c.bobID)
		if err != nil {
			return fmt.Errorf("%q: %w", command, err)
		}
		text := command
		if strings.HasPrefix(command, "/msg ") {
			text = strings.SplitN(command, " ", 3)[2]
		}
		if _, err := c.bob.await(from, netLimit, "message", c.aliceID, sent.fields[1], "live", text); err != nil {
			return fmt.Errorf("%q: %w", command, err)
		}
	}
	l.say("/help, /label, /friends, /msg by label, ID and prefix, and plain text do what they say")
	return nil
}

// wrongCommands gives what must be answered by an error, and by nothing worse.
func wrongCommands(l *lab, c *couple) error {
	wrong := []string{
		"/nothing", "/", "/add", "/add nonsense", "/add " + c.bobID, "/accept", "/accept nobody", "/refuse nobody", "/msg",
		"/msg nobody hello", "/msg " + c.bobID, "/send", "/send " + c.bobID, "/send " + c.bobID + " /no/such/file", "/send " + c.bobID + " " + l.dir,
		"/label nobody x", "/remove nobody", "/remove", "/label " + c.bobID + " " + strings.Repeat("x", 4096),
	}
	for _, command := range wrong {
		e, err := c.alice.ask(command, soon, "error")
		if err != nil {
			return fmt.Errorf("%s: %w", short(command), err)
		}
		name, _, _ := strings.Cut(command, " ")
		if !strings.HasPrefix(e.fields[0], name+": ") {
			return fmt.Errorf("%s gets the error %q", short(command), e.fields[0])
		}
	}
	if err := lists(c.alice, "/friends", []string{"friends", c.bobID, "online", "bobby"}); err != nil {
		return err
	}
	l.say("%d wrong commands get an error each, and change nothing", len(wrong))
	return nil
}

// texts sends what is hard to quote, the longest text, and a longer one.
func texts(l *lab, c *couple) error {
	const longest = 64 << 10
	t := newTalk(c.alice, c.bob, c.aliceID, c.bobID)
	odd := []string{
		`"quoted" \ and 'quoted' %s %d %!`, "\ttabs\tand a trailing one\t", "žluťoučký 你好 🙂 \u2028 \u200b", "escapes \x1b[31mred\x1b[0m \a\b\v\f \x7f",
		"not UTF-8: \xff\xfe \xc3\x28", "/not a command", strings.Repeat("ž", longest/2), strings.Repeat("x", longest),
	}
	for _, text := range odd {
		if err := t.send("%s", text); err != nil {
			return err
		}
	}
	v, err := t.settle(netLimit, false)
	if err != nil {
		return err
	}
	from := c.bob.mark()
	e, err := c.alice.ask("/msg "+c.bobID+" "+strings.Repeat("y", longest+1), soon, "error")
	if err != nil {
		return err
	}
	if !strings.HasPrefix(e.fields[0], "/msg: ") {
		return fmt.Errorf("a text too long gets the error %q", e.fields[0])
	}
	if _, err := c.alice.ask("/msg "+c.bobID+" "+strings.Repeat("z", 4*longest), soon, "error"); err != nil {
		return err
	}
	// The next one shows that nothing of it was sent, nor taken for a command.
	if _, err := c.alice.ask("/msg "+c.bobID+" after it", soon, "sent", c.bobID); err != nil {
		return err
	}
	next, err := c.bob.await(from, netLimit, "message", c.aliceID)
	if err != nil {
		return err
	}
	if got := next.fields[3]; got != "after it" {
		return fmt.Errorf("after a text too long Bob is shown %q", short(got))
	}
	l.say("texts that are hard to quote, and of %d bytes, arrive (%v); longer ones get: %s", longest, v, e.fields[0])
	return nil
}

// refused has a stranger ask and be refused.
func refused(l *lab, c *couple) error {
	carol, err := l.person("Carol")
	if err != nil {
		return err
	}
	if err := carol.start(); err != nil {
		return err
	}
	id, _, err := me(carol)
	if err != nil {
		return err
	}
	_, address, err := me(c.bob)
	if err != nil {
		return err
	}
	begun, from := time.Now(), c.bob.mark()
	if err := carol.tell("/add %s", address); err != nil {
		return err
	}
	if _, err := c.bob.await(from, netLimit, "request", id, ""); err != nil {
		return err
	}
	if err := c.bob.tell("/refuse %s", id); err != nil {
		return err
	}
	if _, err := carol.await(0, netLimit, "friend", c.bobID, "refused"); err != nil {
		return err
	}
	if err := lists(c.bob, "/requests"); err != nil {
		return err
	}
	took := time.Since(begun)
	if err := carol.hangUp(); err != nil {
		return err
	}
	ended, err := carol.leave()
	if err != nil {
		return err
	}
	l.say("a stranger is refused in %.2f s, and ends %.1f s after the end of stdin", took.Seconds(), ended.Seconds())
	return nil
}

// offline has one of the two go and come again.
func offline(l *lab, c *couple) error {
	fromAlice := c.alice.mark()
	took, err := c.bob.quit()
	if err != nil {
		return err
	}
	begun := time.Now()
	if _, err := c.alice.await(fromAlice, netLimit, "friend", c.bobID, "offline"); err != nil {
		return err
	}
	gone := time.Since(begun)
	path, _, err := l.file("to nobody", 1000)
	if err != nil {
		return err
	}
	e, err := c.alice.ask("/send bobby "+path, soon, "error")
	if err != nil {
		return err
	}
	if !strings.HasPrefix(e.fields[0], "/send: ") {
		return fmt.Errorf("/send to a friend who is offline gets the error %q", e.fields[0])
	}
	fromAlice, fromBob := c.alice.mark(), c.bob.mark()
	begun = time.Now()
	if err := c.bob.start(); err != nil {
		return err
	}
	if err := c.online(fromAlice, fromBob); err != nil {
		return err
	}
	l.say("/quit takes %.1f s, offline is seen %.1f s later, /send gets: %s; online again %.2f s after the start",
		took.Seconds(), gone.Seconds(), e.fields[0], time.Since(begun).Seconds())
	return nil
}

// removed has one remove the other, and both end.
func removed(l *lab, c *couple) error {
	fromBob := c.bob.mark()
	begun := time.Now()
	if err := c.alice.tell("/remove bobby"); err != nil {
		return err
	}
	if _, err := c.bob.await(fromBob, netLimit, "friend", c.aliceID, "removed"); err != nil {
		return err
	}
	took := time.Since(begun)
	if err := lists(c.alice, "/friends"); err != nil {
		return err
	}
	if err := c.alice.hangUp(); err != nil {
		return err
	}
	hung, err := c.alice.leave()
	if err != nil {
		return err
	}
	quit, err := c.bob.quit()
	if err != nil {
		return err
	}
	l.say("/remove is seen after %.2f s; the ends take %.1f s at the end of stdin and %.1f s at /quit", took.Seconds(), hung.Seconds(), quit.Seconds())
	return nil
}

// alone starts a chat that knows nobody to begin with.
func alone(l *lab, _ *couple) error {
	l.boot = "none"
	dave, err := l.person("Dave")
	if err != nil {
		return err
	}
	if err := dave.start(); err != nil {
		return err
	}
	if _, _, err := me(dave); err != nil {
		return err
	}
	if err := lists(dave, "/friends"); err != nil {
		return err
	}
	if _, err := dave.ask("hello?", soon, "error"); err != nil { // there is no current friend
		return err
	}
	for _, line := range dave.record(0) {
		if line.from == said && line.kind == "ready" {
			return errors.New("a chat that knows no node is ready")
		}
	}
	took, err := dave.quit()
	if err != nil {
		return err
	}
	l.say("one without bootstrap nodes takes commands, and ends in %.1f s", took.Seconds())
	return nil
}
