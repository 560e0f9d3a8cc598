;; Grows its table, which no limit on memory sees.
(module
  (memory (export "memory") 1)
  (table 1 funcref)
  (func (export "_start")
    (loop $again
      (drop (table.grow 0 (ref.null func) (i32.const 100000)))
      (br $again))))
