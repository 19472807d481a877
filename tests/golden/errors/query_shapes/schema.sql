-- name: shapes :many
-- param p1: int8
-- param p2: int8
-- param p3: int8
-- param p4: int8
-- param p5: int8
-- param p6: int8
-- param p7: int8
-- param p8: int8
-- param p9: int8
-- param p10: int8
-- param p11: int8
-- param p12: int8
-- param p13: int8
-- return o: orders.*
SELECT {o.*} FROM {orders o} WHERE true
  /*?if p1*/ AND o.id <> :p1 /*?end*/
  /*?if p2*/ AND o.id <> :p2 /*?end*/
  /*?if p3*/ AND o.id <> :p3 /*?end*/
  /*?if p4*/ AND o.id <> :p4 /*?end*/
  /*?if p5*/ AND o.id <> :p5 /*?end*/
  /*?if p6*/ AND o.id <> :p6 /*?end*/
  /*?if p7*/ AND o.id <> :p7 /*?end*/
  /*?if p8*/ AND o.id <> :p8 /*?end*/
  /*?if p9*/ AND o.id <> :p9 /*?end*/
  /*?if p10*/ AND o.id <> :p10 /*?end*/
  /*?if p11*/ AND o.id <> :p11 /*?end*/
  /*?if p12*/ AND o.id <> :p12 /*?end*/
  /*?if p13*/ AND o.id <> :p13 /*?end*/
