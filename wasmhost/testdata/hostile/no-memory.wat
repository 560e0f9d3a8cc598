;; Does not let the host at its memory.
(module
  (memory 1)
  (func (export "_start")))
