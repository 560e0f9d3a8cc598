;; Spins, and pays nothing: it is loaded as it is.
(module
  (memory (export "memory") 1)
  (func (export "_start") (loop $again (br $again))))
