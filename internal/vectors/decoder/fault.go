package decoder

// Fault is why bytes are refused, by the names of docs/vectors.
type Fault string

// The faults of records and frames.
const (
	Short    Fault = "short"    // they end too early
	Trailing Fault = "trailing" // bytes follow the end
	Format   Fault = "format"   // the record has another format
	Kind     Fault = "kind"     // unknown
	Value    Fault = "value"    // a field is outside of its limits, or not written as it must be
)

// Error makes a Fault an error; errors.Is finds it.
func (f Fault) Error() string {
	switch f {
	case Short:
		return "the bytes end too early"
	case Trailing:
		return "bytes follow the end"
	case Format:
		return "the format is another"
	case Kind:
		return "the kind is unknown"
	case Value:
		return "a value is outside of its limits"
	}
	return "fault " + string(f)
}
