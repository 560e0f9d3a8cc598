;; Wants 4 GiB at the start.
(module
  (memory (export "memory") 65535)
  (func (export "_start")))
