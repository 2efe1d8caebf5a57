package crypto

import (
	"math"
	"time"
)

// An Epoch counts days, weeks or hours since 1 January 1970 UTC; which of
// them, the function that takes it says. Weeks begin on Thursdays, as that
// day was one. Times before 1970 count as 0.
type Epoch uint32

const (
	hour         = 60 * 60
	day          = 24 * hour
	week         = 7 * day
	hoursPerWeek = week / hour
)

// Hour returns the hour that t lies in.
func Hour(t time.Time) Epoch { return epoch(t, hour) }

// Day returns the day that t lies in.
func Day(t time.Time) Epoch { return epoch(t, day) }

// Week returns the week that t lies in.
func Week(t time.Time) Epoch { return epoch(t, week) }

// HourWeek returns the week that hour h lies in.
func HourWeek(h Epoch) Epoch { return h / hoursPerWeek }

// HourStart returns when e, a count of hours, begins; it ends when e+1 begins.
func (e Epoch) HourStart() time.Time { return e.start(hour) }

// DayStart returns when e, a count of days, begins; it ends when e+1 begins.
func (e Epoch) DayStart() time.Time { return e.start(day) }

// WeekStart returns when e, a count of weeks, begins; it ends when e+1 begins.
func (e Epoch) WeekStart() time.Time { return e.start(week) }

func (e Epoch) start(seconds int64) time.Time { return time.Unix(int64(e)*seconds, 0).UTC() }

func epoch(t time.Time, seconds int64) Epoch {
	return Epoch(min(max(t.Unix(), 0)/seconds, math.MaxUint32))
}
