package api

import "github.com/stavily/stavily/protocol"

// PathRecording is the newest recording of an agent.
const PathRecording = "/v1/agents/{x}/recording" // GET: Recording; POST NewRecording: Recording

// NewRecording asks an agent to record the next calls of a step.
type NewRecording struct {
	Workflow protocol.WorkflowName `json:"workflow"`
	Step     protocol.StepName     `json:"step"`
	Calls    uint32                `json:"calls"`           // 1 to RecordCallsMax
	Bytes    uint32                `json:"bytes,omitempty"` // at most; 0: RecordBytesMax
}

// Recording is how far a recording is.
type Recording struct {
	ID       uint64                `json:"id"`
	Workflow protocol.WorkflowName `json:"workflow"`
	Step     protocol.StepName     `json:"step"`
	Calls    uint32                `json:"calls"` // that were asked for
	Size     uint32                `json:"size"`  // bytes; 0: it has not come yet
	Have     int                   `json:"have"`  // bytes that have come
	Done     bool                  `json:"done"`
	Data     []byte                `json:"data,omitempty"`  // when it is done
	Error    *protocol.Error       `json:"error,omitempty"` // why there will be none
}
