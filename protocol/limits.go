package protocol

// Every upper bound that both ends of a link rely on. A receiver refuses what is
// over a bound with CodeLimit and the bound's name; a sender checks before it sends.
const (
	// NameMax bounds names that stand in topics, so that a topic fits TopicMax.
	NameMax = 32
	// PluginNameMax bounds plugin names, which stand for repositories.
	PluginNameMax = 64
	// TopicMax bounds a topic in bytes. The longest that topic.go builds has 83.
	TopicMax = 256
	// TopicLevelsMax bounds a topic's levels: matching cost grows with depth.
	TopicLevelsMax = 16

	// MessageMax bounds one MQTT payload in bytes: a chunk and its envelope, with
	// room; small enough that 1,000 agents sending one at once fit 128 MiB.
	MessageMax = 128 << 10
	// ChunkSize is the size in bytes of every chunk of a file but the last. 64 KiB
	// is 8 s on a link of 64 kbit/s, less than the shortest keepalive.
	ChunkSize = 64 << 10
	// ArtifactMax bounds one artifact in bytes. CPython for WASI has 6.6 MB.
	ArtifactMax = 32 << 20
	// DocumentMax bounds one sealed document (release, desired, keyring) in bytes.
	DocumentMax = 1 << 20

	// DepthMax bounds the nesting of a CBOR item.
	DepthMax = 16
	// ArrayMax bounds the elements of a CBOR array.
	ArrayMax = 4096
	// MapMax bounds the pairs of a CBOR map.
	MapMax = 1024

	// BatchMax bounds the records of one batch.
	BatchMax = 256
	// RecordMax bounds the body of one record in bytes.
	RecordMax = 32 << 10
	// DataMax bounds the data of one event or result in bytes; with its envelope it
	// must fit RecordMax.
	DataMax = 24 << 10
	// ConfigMax bounds a step's configuration in bytes.
	ConfigMax = 16 << 10
	// StateMax bounds a trigger's state in bytes.
	StateMax = 16 << 10
	// KVBytesMax bounds what one plugin may put by in one step, in bytes: 64 keys of at most 128
	// bytes, with at most 16 kB each.
	KVBytesMax = 64 * (128 + 16<<10)
	// EventsMax bounds the events that one wake may answer.
	EventsMax = 64
	// TextMax bounds an error's or a log line's text in bytes.
	TextMax = 1024

	// AssignmentsMax bounds the assignments of one desired document.
	AssignmentsMax = 256
	// StepsMax bounds the actions, and the outputs, of one workflow.
	StepsMax = 32
	// MembersMax bounds the agents of a step's place.
	MembersMax = 64
	// OriginsMax bounds the agents of one site that a hosted step names; with more it is open.
	OriginsMax = 256
	// RevokedMax bounds the revoked releases of one desired document: 35 kB of digests.
	RevokedMax = 1024
	// GoneMax bounds the agents of one desired document that are no part of its site any more.
	GoneMax = 1024
	// LabelsMax bounds the labels of one agent.
	LabelsMax = 64
	// FetchAheadMax bounds the chunks that one fetch request may ask for.
	FetchAheadMax = 8
	// BasesMax bounds the files that one fetch request offers differences against.
	BasesMax = 4
)

// The relations that the bounds above must keep. A bound that breaks one does not
// compile.
const (
	_ uint = MessageMax - ChunkSize - 4096 // a chunk and its envelope fit a message
	_ uint = RecordMax - DataMax - 4096    // data and its envelope fit a record
	_ uint = MessageMax - RecordMax - 4096 // a record and its batch fit a message
	_ uint = TopicMax - (3*NameMax + 40)   // a topic of longest names fits
)
