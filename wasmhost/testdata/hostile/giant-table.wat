;; Has a table of a million places at the start.
(module
  (memory (export "memory") 1)
  (table 1000000 funcref)
  (func (export "_start")))
