package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/gocarrier/carrier"
)

// The colours, as SGR parameters.
const (
	bold  = "1"
	dim   = "2"
	red   = "31"
	green = "32"
	cyan  = "36"
)

// view puts events into words for people. Whatever comes from others passes
// visible or paragraph, so that the terminal obeys nobody else.
type view struct {
	node   *carrier.Node
	colour bool
	now    func() time.Time
}

// paint colours a text, if there are colours.
func (v *view) paint(colour, s string) string {
	if !v.colour || s == "" {
		return s
	}
	return "\x1b[" + colour + "m" + s + "\x1b[0m"
}

// name is how a person is called: the label; else the name that they gave
// themselves, with the beginning of the ID, which nobody else can have.
func (v *view) name(id carrier.ID) string {
	f, err := v.node.Friend(id)
	switch {
	case err != nil:
		return short(id)
	case f.Label() != "":
		return visible(f.Label())
	}
	return visible(f.String())
}

// short is enough of an ID to be typed.
func short(id carrier.ID) string { return id.String()[:8] }

func (v *view) greeting() string {
	return fmt.Sprintf("Your address, for others to /add:\n%s\n%s\n", v.node.Address(), v.paint(dim, "/help lists the commands; joining the network …"))
}

// text is an event for people, with the end of its last line; "" if there is
// nothing to say.
func (v *view) text(e event) string {
	if s := v.say(e); s != "" {
		return s + "\n"
	}
	return ""
}

func (v *view) say(e event) string {
	switch e := e.(type) {
	case ready:
		return v.paint(dim, "the network is there")
	case me:
		return fmt.Sprintf("your ID       %s\nyour address  %s", e.id, e.address)
	case request:
		return v.request(e.FriendRequest)
	case requests:
		if len(e) == 0 {
			return "nobody asks"
		}
		var all []string
		for _, r := range e {
			all = append(all, v.request(r))
		}
		return strings.Join(all, "\n")
	case friendNews:
		return v.news(e)
	case friendList:
		return v.friends(e)
	case message:
		how := ""
		if e.Courier() == carrier.CourierDHT {
			how = " (left " + v.when(e.Time()) + ")"
		}
		return fmt.Sprintf("%s %s%s: %s", v.paint(dim, v.now().Format("15:04")), v.paint(cyan, v.name(e.From())), how, paragraph(string(e.Body())))
	case mail:
		return v.mail(e)
	case fileBegun:
		return v.paint(dim, fmt.Sprintf("%s sends %s, %s", v.name(e.from), visible(e.name), showSize(e.size)))
	case fileReceived:
		return fmt.Sprintf("%s has sent %s\n    %s, SHA-256 %x", v.paint(cyan, v.name(e.from)), v.paint(bold, visible(e.path)), showSize(e.size), e.sum)
	case fileSent:
		return v.paint(green, fmt.Sprintf("✓ %s has %s, %s", v.name(e.to), visible(e.name), showSize(e.size)))
	case fileFailed:
		return v.paint(red, fmt.Sprintf("✗ %s, with %s: %s", visible(e.name), v.name(e.peer), visible(e.reason)))
	case help:
		return strings.ReplaceAll(strings.TrimSuffix(e.lines(), "\n"), "help: ", "  ")
	case failed:
		return v.paint(red, visible(e.text()))
	case done:
		return v.paint(dim, string(e))
	}
	return ""
}

func (v *view) request(r carrier.FriendRequest) string {
	s := fmt.Sprintf("%s asks to be a friend: %s", v.paint(cyan, visible(r.Name)+" ("+short(r.ID)+")"), visible(r.Hello))
	return s + v.paint(dim, "\n    /accept "+short(r.ID)+"  or  /refuse "+short(r.ID))
}

func (v *view) news(e friendNews) string {
	name := v.name(e.id)
	switch e.what {
	case "added":
		return v.paint(green, name+" is a friend now") + v.paint(dim, "; /label "+short(e.id)+" NAME gives them a name of yours")
	case "removed":
		return name + " is no longer a friend"
	case "refused":
		return name + " does not want to be a friend"
	}
	return v.paint(dim, name+" is "+e.what)
}

func (v *view) mail(e mail) string {
	switch {
	case e.what == "failed":
		return v.paint(red, fmt.Sprintf("✗ a message to %s was not delivered: %s", v.name(e.to), e.why))
	case e.what == "stored":
		return v.paint(dim, "… left for "+v.name(e.to)+", until they are there")
	case e.what == "delivered" && !e.again: // what came through while we were away is seen in the talk
		return v.paint(dim, "✓ "+v.name(e.to)+" has it")
	}
	return ""
}

func (v *view) friends(list friendList) string {
	if len(list) == 0 {
		return "nobody yet; /add ADDRESS asks somebody"
	}
	width := 0
	for _, f := range list {
		width = max(width, len([]rune(v.name(f.id))))
	}
	var b strings.Builder
	for i, f := range list {
		if i > 0 {
			b.WriteByte('\n')
		}
		name, state := v.name(f.id), fmt.Sprintf("%-8s", f.state)
		if f.state == "online" {
			state = v.paint(green, state)
		}
		fmt.Fprintf(&b, "  %s%*s  %s  %-7s %-9s %s", v.paint(cyan, name), width-len([]rune(name)), "", state, way(f.path.Kind), roundTrip(f.path.RTT), v.paint(dim, f.id.String()))
	}
	return b.String()
}

func roundTrip(d time.Duration) string {
	switch {
	case d == 0:
		return ""
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d)/1e6)
	}
	return fmt.Sprintf("%.0f ms", float64(d)/1e6)
}

// when is a time as short as it can be understood.
func (v *view) when(t time.Time) string {
	now := v.now()
	t = t.In(now.Location())
	if t.Year() == now.Year() && t.YearDay() == now.YearDay() {
		return t.Format("15:04")
	}
	return t.Format("2006-01-02 15:04")
}
