# gnuplot ring-resolution.gp: what build/release/bin/ring_resolution --rounds 15 printed (see docs/performance.md).
set terminal svg size 720,440 font "sans-serif,13" background "white"
set output "ring-resolution.svg"
set title "From the closing request to the victim's error, eight lock agents on loopback"
set xlabel "length of the ring"
set ylabel "median, ms"
set yrange [0:*]
set key left top
set grid
$data << EOD
2 0.58 1.03
3 0.67 1.18
4 0.58 1.28
6 0.59 1.27
8 0.66 1.44
12 0.75 1.64
16 0.86 1.78
24 0.95 2.07
32 1.01 2.91
EOD
plot $data using 1:2 with linespoints pt 7 lc "blue" title "one coordinator", \
     $data using 1:3 with linespoints pt 5 lc "red" title "four coordinators that share the graph"
