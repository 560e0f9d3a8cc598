package stavily

// Handle stands for the value of a secret in an [HTTPRequest] that names it among its
// Secrets: "Bearer " + Handle("api-key").
func Handle(secret string) string { return "${" + secret + "}" }

// Secret tells the value of a secret. A plugin that only sends it on wants a [Handle]
// instead, and is granted it more easily. Needs secret.use with the bare name as a scope. A
// secret that is not on the device yet is [CodeUnavailable], which makes an answer retryable.
func (c *Context) Secret(name string) ([]byte, error) {
	var ok struct {
		Value   string `json:"value"`
		Value64 []byte `json:"value_base64"`
	}
	err := c.Call("secret.use", secretArgs{name}, &ok)
	return append([]byte(ok.Value), ok.Value64...), err
}

// Publish says something to the triggers of this device that wait for the topic. data is at
// most 8 KiB; nobody has to hear it. Needs mqtt.publish with filters as scopes.
func (c *Context) Publish(topic string, data any) error {
	return c.Call("mqtt.publish", publishArgs{topic, data}, nil)
}

type publishArgs struct {
	Topic string `json:"topic"`
	Data  any    `json:"data"`
}

type secretArgs struct {
	Name string `json:"name"`
}
