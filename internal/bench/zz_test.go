package main
import ("testing";"context";"os")
func TestZZ(t *testing.T){
 os.Chdir("../..")
 b:=&bench{ctx:context.Background(),dir:t.TempDir()}
 c,err:=b.newCourse(inRust,wakeEvents,1); if err!=nil{t.Fatal(err)}
 for range 2 { r,err:=c.agentRound(); t.Log(r.events, r.perEvent(), quantile(r.delays,0.5), err) }
}
